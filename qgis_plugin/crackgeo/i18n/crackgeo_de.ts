<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de" sourcelanguage="en">
 <context>
  <name>crackgeo</name>
  <message>
   <location filename="../algorithms/base.py" />
   <source>Cracks</source>
   <translation>Risse</translation>
  </message>
  <message>
   <location filename="../algorithms/base.py" />
   <source>none</source>
   <translation>keine</translation>
  </message>
  <message>
   <location filename="../algorithms/base.py" />
   <source>units of the image</source>
   <translation>Einheiten des Bildes</translation>
  </message>
  <message>
   <location filename="../algorithms/base.py" />
   <source>Cancelled: the output was not written.</source>
   <translation>Abgebrochen: Die Ausgabe wurde nicht geschrieben.</translation>
  </message>
  <message>
   <location filename="../algorithms/base.py" />
   <source>Engine: crackgeo {} ({})</source>
   <translation>Engine: crackgeo {} ({})</translation>
  </message>
  <message>
   <location filename="../algorithms/base.py" />
   <source>What to do</source>
   <translation>Abhilfe</translation>
  </message>
  <message>
   <location filename="../algorithms/base.py" />
   <source>To take up what was done: {}.</source>
   <translation>Zum Weitermachen: {}.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Set up the engine</source>
   <translation>Engine einrichten</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Makes, finishes or repairs the engine's own Python environment in your user folder. QGIS's Python is not touched. Needs about 3 GB of room and some minutes; what was interrupted goes on where it stopped.</source>
   <translation>Legt die eigene Python-Umgebung der Engine in Ihrem Benutzerordner an, vervollständigt oder repariert sie. Das Python von QGIS bleibt unberührt. Braucht etwa 3 GB Platz und einige Minuten; was unterbrochen wurde, geht dort weiter, wo es aufgehört hat.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Folder of wheels</source>
   <translation>Ordner mit Wheels</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Where to look for packages on a machine without internet, see the tutorial.</source>
   <translation>Wo auf einem Rechner ohne Internet nach Paketen gesucht wird, siehe Anleitung.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Use nothing but the folder of wheels</source>
   <translation>Nur den Ordner mit Wheels benutzen</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Off: what the folder lacks comes from the package index.</source>
   <translation>Aus: Was im Ordner fehlt, kommt vom Paketindex.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>For an NVIDIA graphics card</source>
   <translation>Für eine NVIDIA-Grafikkarte</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>A larger set-up, about 3 GB to download, that runs on CUDA.</source>
   <translation>Eine größere Einrichtung, etwa 3 GB zum Herunterladen, die mit CUDA rechnet.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Check engine</source>
   <translation>Engine prüfen</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Says whether the crackgeo engine works, what is missing, and sets it up if asked.</source>
   <translation>Sagt, ob die Engine crackgeo funktioniert und was fehlt, und richtet sie auf Wunsch ein.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>&lt;p&gt;The engine does the work in a Python of its own. This finds it as every other algorithm does: the variable CRACKGEO_EXECUTABLE, the path set in Plugins &amp;gt; CrackGeo &amp;gt; Engine, the managed environment, the PATH. Send the report along with a question.&lt;/p&gt;</source>
   <translation>&lt;p&gt;Die Engine arbeitet in einem eigenen Python. Sie wird hier wie in jedem anderen Werkzeug gesucht: die Variable CRACKGEO_EXECUTABLE, der Pfad unter Erweiterungen &amp;gt; CrackGeo &amp;gt; Engine, die eingerichtete Umgebung, der PATH. Legen Sie den Bericht einer Frage bei.&lt;/p&gt;</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>crack,engine,install,setup,doctor,diagnostics,python,environment</source>
   <translation>Riss,Engine,Installation,Einrichtung,Diagnose,Python,Umgebung</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Engine</source>
   <translation>Engine</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Ready: 1, or 0</source>
   <translation>Bereit: 1, sonst 0</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Problems</source>
   <translation>Probleme</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Version of the engine</source>
   <translation>Version der Engine</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Path of the engine</source>
   <translation>Pfad der Engine</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Report</source>
   <translation>Bericht</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Cancelled. The next set-up goes on from here.</source>
   <translation>Abgebrochen. Die nächste Einrichtung macht hier weiter.</translation>
  </message>
  <message>
   <location filename="../algorithms/check_engine.py" />
   <source>Setting up: {}</source>
   <translation>Einrichten: {}</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>The GeoPackage to write. It appears when it is complete.</source>
   <translation>Das GeoPackage, das geschrieben wird. Es erscheint, wenn es vollständig ist.</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Number of cracks</source>
   <translation>Anzahl der Risse</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Number of crack networks</source>
   <translation>Anzahl der Rissnetze</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Total length (m)</source>
   <translation>Gesamtlänge (m)</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Longest crack (m)</source>
   <translation>Längster Riss (m)</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Mean width (mm)</source>
   <translation>Mittlere Breite (mm)</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Largest width (mm)</source>
   <translation>Größte Breite (mm)</translation>
  </message>
  <message>
   <location filename="../algorithms/cracks.py" />
   <source>Area surveyed (m2)</source>
   <translation>Untersuchte Fläche (m2)</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Corrected cracks</source>
   <translation>Korrigierte Risse</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Lines or polygons of all cracks in the labelled area, for example a corrected result.</source>
   <translation>Linien oder Polygone aller Risse im beschrifteten Gebiet, zum Beispiel ein korrigiertes Ergebnis.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Labelled area</source>
   <translation>Beschriftetes Gebiet</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Polygons inside which every crack is labelled. Empty: where the labels have a field status, a strip beside those that were judged; else the whole image.</source>
   <translation>Polygone, in denen jeder Riss eingezeichnet ist. Leer: wo die Risse ein Feld status haben, ein Streifen neben den beurteilten; sonst das ganze Bild.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Width of cracks drawn as lines, in mm</source>
   <translation>Breite der als Linien gezeichneten Risse in mm</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>For lines without a width of their own. Empty: the median of those that have one.</source>
   <translation>Für Linien ohne eigene Breite. Leer: der Median der Linien mit Breite.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Model to begin with</source>
   <translation>Ausgangsmodell</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>A model file. Empty: compact, which comes with the engine.</source>
   <translation>Eine Modelldatei. Leer: compact, das in der Engine enthalten ist.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Most steps</source>
   <translation>Höchstzahl der Schritte</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Training ends earlier when it no longer helps.</source>
   <translation>Das Training endet früher, wenn es nichts mehr bringt.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Go on with a cancelled training</source>
   <translation>Ein abgebrochenes Training fortsetzen</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Takes up the training that was stopped for the same output, from its last checkpoint.</source>
   <translation>Setzt das Training fort, das für dieselbe Ausgabe abgebrochen wurde, ab seinem letzten Sicherungspunkt.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Fine-tuned model</source>
   <translation>Nachtrainiertes Modell</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>The model file to write; a folder with the report lies beside it.</source>
   <translation>Die Modelldatei, die geschrieben wird; daneben liegt ein Ordner mit dem Bericht.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Fine-tune a model</source>
   <translation>Modell nachtrainieren</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Trains a crack model further on labels of your own.</source>
   <translation>Trainiert ein Rissmodell mit eigenen Daten weiter.</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>&lt;p&gt;Correct the result of Map cracks in an area, then train on it. The report beside the model says whether it helped.&lt;/p&gt;</source>
   <translation>&lt;p&gt;Korrigieren Sie das Ergebnis von „Risse kartieren“ in einem Gebiet und trainieren Sie damit. Der Bericht neben dem Modell sagt, ob es geholfen hat.&lt;/p&gt;</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>crack,training,fine-tuning,labels,deep learning,model</source>
   <translation>Riss,Training,Nachtraining,Beschriftung,maschinelles Lernen,Modell</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Models</source>
   <translation>Modelle</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Overlap with the labels before (IoU)</source>
   <translation>Übereinstimmung mit den Vorgaben vorher (IoU)</translation>
  </message>
  <message>
   <location filename="../algorithms/finetune.py" />
   <source>Overlap with the labels after (IoU)</source>
   <translation>Übereinstimmung mit den Vorgaben nachher (IoU)</translation>
  </message>
  <message>
   <location filename="../algorithms/map_cracks.py" />
   <source>Also keep the raster of probabilities, to try other thresholds with Vectorize cracks.</source>
   <translation>Auch das Raster der Wahrscheinlichkeiten behalten, um mit „Risse vektorisieren“ andere Schwellen zu versuchen.</translation>
  </message>
  <message>
   <location filename="../algorithms/map_cracks.py" />
   <source>Map cracks</source>
   <translation>Risse kartieren</translation>
  </message>
  <message>
   <location filename="../algorithms/map_cracks.py" />
   <source>Finds the cracks in an image and measures their length and width.</source>
   <translation>Findet die Risse in einem Bild und misst ihre Länge und Breite.</translation>
  </message>
  <message>
   <location filename="../algorithms/map_cracks.py" />
   <source>&lt;p&gt;The result is a GeoPackage: crack lines with length in metres and width in millimetres, their outlines, and a layer that says what was surveyed.&lt;/p&gt;</source>
   <translation>&lt;p&gt;Das Ergebnis ist ein GeoPackage: Risslinien mit Länge in Metern und Breite in Millimetern, ihre Umrisse und ein Layer, der sagt, was untersucht wurde.&lt;/p&gt;</translation>
  </message>
  <message>
   <location filename="../algorithms/map_cracks.py" />
   <source>crack,pavement,road,bridge,facade,concrete,asphalt,deep learning,segmentation</source>
   <translation>Riss,Fahrbahn,Straße,Brücke,Fassade,Beton,Asphalt,maschinelles Lernen,Segmentierung</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>The GeoTIFF to write: the probability of a crack in each pixel. 255 marks no data.</source>
   <translation>Das GeoTIFF, das geschrieben wird: die Wahrscheinlichkeit eines Risses in jedem Pixel. 255 steht für „keine Daten“.</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>Predict crack probability</source>
   <translation>Risswahrscheinlichkeit berechnen</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>Writes the probability of a crack for every pixel of an image.</source>
   <translation>Schreibt für jedes Pixel eines Bildes die Wahrscheinlichkeit eines Risses.</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>&lt;p&gt;Vectorize cracks makes measured lines of the result.&lt;/p&gt;</source>
   <translation>&lt;p&gt;„Risse vektorisieren“ macht aus dem Ergebnis gemessene Linien.&lt;/p&gt;</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>crack,probability,deep learning,segmentation,inference</source>
   <translation>Riss,Wahrscheinlichkeit,maschinelles Lernen,Segmentierung</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>Tiles run</source>
   <translation>Gerechnete Kacheln</translation>
  </message>
  <message>
   <location filename="../algorithms/predict_probability.py" />
   <source>Pixels with data</source>
   <translation>Pixel mit Daten</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Image information</source>
   <translation>Bildinformationen</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Says what an image is as the engine sees it, and how long Map cracks would take.</source>
   <translation>Sagt, wie die Engine ein Bild sieht und wie lange „Risse kartieren“ dauern würde.</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>&lt;p&gt;The ground pixel size decides which cracks can be seen: see it before a run.&lt;/p&gt;</source>
   <translation>&lt;p&gt;Die Pixelgröße am Boden entscheidet, welche Risse zu sehen sind: sehen Sie vor einem Lauf nach.&lt;/p&gt;</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>crack,ground sampling distance,gsd,pixel size,estimate,time</source>
   <translation>Riss,Bodenauflösung,GSD,Pixelgröße,Schätzung,Zeit</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Columns</source>
   <translation>Spalten</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Rows</source>
   <translation>Zeilen</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Coordinate reference system</source>
   <translation>Koordinatenbezugssystem</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Ground pixel size along columns (mm)</source>
   <translation>Pixelgröße am Boden entlang der Spalten (mm)</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Ground pixel size along rows (mm)</source>
   <translation>Pixelgröße am Boden entlang der Zeilen (mm)</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Tiles</source>
   <translation>Kacheln</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Tiles with data</source>
   <translation>Kacheln mit Daten</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Estimated time (s)</source>
   <translation>Geschätzte Zeit (s)</translation>
  </message>
  <message>
   <location filename="../algorithms/raster_info.py" />
   <source>Hints</source>
   <translation>Hinweise</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Image</source>
   <translation>Bild</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Any raster file that GDAL reads: an orthomosaic, a facade picture with coordinates, a VRT of many. Web layers must be saved as a file first.</source>
   <translation>Jede Rasterdatei, die GDAL liest: ein Orthomosaik, ein Fassadenbild mit Koordinaten, ein VRT aus vielen. Web-Layer müssen zuerst als Datei gespeichert werden.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Crack model</source>
   <translation>Rissmodell</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>A model file, for example a fine-tuned one. Empty: compact, which comes with the engine.</source>
   <translation>Eine Modelldatei, zum Beispiel eine nachtrainierte. Leer: compact, das in der Engine enthalten ist.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Only inside these polygons</source>
   <translation>Nur in diesen Polygonen</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Cracks are looked for inside these polygons only; any CRS. Selected features count.</source>
   <translation>Risse werden nur in diesen Polygonen gesucht; KBS beliebig. Ausgewählte Objekte zählen.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Only this extent</source>
   <translation>Nur diese Ausdehnung</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>A part of the image, to try settings before a long run.</source>
   <translation>Ein Teil des Bildes, um Einstellungen vor einem langen Lauf zu versuchen.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Ground pixel size in metres</source>
   <translation>Pixelgröße am Boden in Metern</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Resample the image to this pixel size first, for example 0.002. Empty: as it is. Models are trained on pixels of about 1 to 5 mm.</source>
   <translation>Das Bild zuerst auf diese Pixelgröße umrechnen, zum Beispiel 0.002. Leer: wie es ist. Die Modelle sind auf Pixel von etwa 1 bis 5 mm trainiert.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Least length in metres</source>
   <translation>Mindestlänge in Metern</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Crack networks shorter than this on the ground are left out; 0 keeps all. Empty: the model's own rule, which keeps crack-free surfaces clean.</source>
   <translation>Rissnetze, die am Boden kürzer sind, werden weggelassen; 0 behält alle. Leer: die eigene Regel des Modells, die rissfreie Flächen sauber hält.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Threshold</source>
   <translation>Schwelle</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>A crack must reach this probability somewhere. Empty: the model's own.</source>
   <translation>Diese Wahrscheinlichkeit muss ein Riss irgendwo erreichen. Leer: die des Modells.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Lower threshold</source>
   <translation>Untere Schwelle</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>A crack is followed down to this probability. Empty: the model's own, or with a threshold given in the model's proportion to it.</source>
   <translation>Bis zu dieser Wahrscheinlichkeit wird ein Riss weiterverfolgt. Leer: die des Modells, oder mit einer angegebenen Schwelle die im Verhältnis des Modells dazu.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Greatest mean width in mm</source>
   <translation>Größte mittlere Breite in mm</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Networks wider than this on average are left out: plants and shadows, not cracks.</source>
   <translation>Rissnetze, die im Mittel breiter sind, werden weggelassen: Pflanzen und Schatten, keine Risse.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Distance of width stations in metres</source>
   <translation>Abstand der Breitenmessungen in Metern</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Also writes the width every so many metres along each crack. Empty: no stations.</source>
   <translation>Schreibt auch die Breite in diesem Abstand entlang jedes Risses. Leer: keine Messpunkte.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Overlap of tiles in pixels</source>
   <translation>Überlappung der Kacheln in Pixeln</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Neighbouring tiles share this many pixels, so that no crack ends at a seam.</source>
   <translation>So viele Pixel haben benachbarte Kacheln gemeinsam, damit kein Riss an einer Naht endet.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Device</source>
   <translation>Gerät</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Where the model runs. auto: the graphics card if there is one, else the processor.</source>
   <translation>Wo das Modell rechnet. auto: auf der Grafikkarte, wenn es eine gibt, sonst auf dem Prozessor.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Precision</source>
   <translation>Genauigkeit</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Arithmetic of the model. auto: the fastest that keeps the result.</source>
   <translation>Rechengenauigkeit des Modells. auto: die schnellste, die das Ergebnis nicht ändert.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Tiles at once</source>
   <translation>Kacheln auf einmal</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>auto, or a number; a smaller one needs less memory.</source>
   <translation>auto oder eine Zahl; eine kleinere braucht weniger Speicher.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Bands</source>
   <translation>Bänder</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>One band or three, counted from 1, for example 1,2,3. Empty: by their colours.</source>
   <translation>Ein Band oder drei, gezählt ab 1, zum Beispiel 1,2,3. Leer: nach ihren Farben.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Values for black and white</source>
   <translation>Werte für Schwarz und Weiß</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Two values, for example 200,3000, the same over the whole image. Empty: by the 1st and 99th percentile; 8 bits as they are unless these are near each other, as in haze.</source>
   <translation>Zwei Werte, zum Beispiel 200,3000, gleich für das ganze Bild. Leer: nach dem 1. und 99. Perzentil; 8 Bit wie sie sind, außer wo diese nahe beieinander liegen, wie bei Dunst.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Value without data</source>
   <translation>Wert für „keine Daten“</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Pixels with this value count as not surveyed, beside those the image marks itself.</source>
   <translation>Pixel mit diesem Wert gelten als nicht untersucht, neben denen, die das Bild selbst kennzeichnet.</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Go on with a cancelled run</source>
   <translation>Einen abgebrochenen Lauf fortsetzen</translation>
  </message>
  <message>
   <location filename="../algorithms/shared.py" />
   <source>Takes up the work that a run with the same output and options left when it was stopped.</source>
   <translation>Nimmt die Arbeit auf, die ein Lauf mit derselben Ausgabe und denselben Einstellungen beim Abbruch hinterlassen hat.</translation>
  </message>
  <message>
   <location filename="../algorithms/vectorize_cracks.py" />
   <source>A raster of Predict crack probability, or any of probabilities from 0 to 1 or of a mask.</source>
   <translation>Ein Raster aus „Risswahrscheinlichkeit berechnen“ oder ein anderes mit Wahrscheinlichkeiten von 0 bis 1 oder einer Maske.</translation>
  </message>
  <message>
   <location filename="../algorithms/vectorize_cracks.py" />
   <source>Vectorize cracks</source>
   <translation>Risse vektorisieren</translation>
  </message>
  <message>
   <location filename="../algorithms/vectorize_cracks.py" />
   <source>Makes measured crack lines of a raster of crack probabilities.</source>
   <translation>Macht aus einem Raster der Risswahrscheinlichkeiten gemessene Risslinien.</translation>
  </message>
  <message>
   <location filename="../algorithms/vectorize_cracks.py" />
   <source>&lt;p&gt;Much faster than Map cracks, to try thresholds and lengths.&lt;/p&gt;</source>
   <translation>&lt;p&gt;Viel schneller als „Risse kartieren“, um Schwellen und Längen zu versuchen.&lt;/p&gt;</translation>
  </message>
  <message>
   <location filename="../algorithms/vectorize_cracks.py" />
   <source>crack,skeleton,centreline,width,vectorize,threshold</source>
   <translation>Riss,Skelett,Mittellinie,Breite,vektorisieren,Schwelle</translation>
  </message>
  <message>
   <location filename="../features.py" />
   <source>{}: the features could not be handed to the engine ({}). Save the layer as a new file (Export &gt; Save Features As), and use that.</source>
   <translation>{}: Die Objekte konnten der Engine nicht übergeben werden ({}). Speichern Sie den Layer als neue Datei (Export &gt; Objekte speichern als) und verwenden Sie diese.</translation>
  </message>
  <message>
   <location filename="../features.py" />
   <source>{}: two fields are called {}; rename the one that does not count</source>
   <translation>{}: zwei Felder heißen {}; benennen Sie das um, das nicht zählt</translation>
  </message>
  <message>
   <location filename="../features.py" />
   <source>{} of {} features were written</source>
   <translation>{} von {} Objekten wurden geschrieben</translation>
  </message>
  <message>
   <location filename="../features.py" />
   <source>{}: no feature to use; look at the selection and the filter</source>
   <translation>{}: kein Objekt zu verwenden; sehen Sie nach Auswahl und Filter</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Checking crackgeo</source>
   <translation>crackgeo wird geprüft</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Setting up crackgeo</source>
   <translation>crackgeo wird eingerichtet</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Removing crackgeo</source>
   <translation>crackgeo wird entfernt</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>making the environment</source>
   <translation>die Umgebung wird angelegt</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>downloading and installing torch, the largest part</source>
   <translation>torch, der größte Teil, wird geladen und installiert</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>downloading and installing the engine and its other packages</source>
   <translation>die Engine und ihre übrigen Pakete werden geladen und installiert</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>compiling the measuring code, once</source>
   <translation>der Messcode wird einmalig übersetzt</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>trying the engine</source>
   <translation>die Engine wird ausprobiert</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>The engine is ready: crackgeo {}, {}.</source>
   <translation>Die Engine ist bereit: crackgeo {}, {}.</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>CrackGeo: the engine</source>
   <translation>CrackGeo: die Engine</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Set up an engine of its own, apart from QGIS</source>
   <translation>Eine eigene Engine einrichten, getrennt von QGIS</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>only without internet, or for a build of yours</source>
   <translation>nur ohne Internet oder für eine eigene Fassung</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Use nothing but this folder</source>
   <translation>Nur diesen Ordner benutzen</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>For an NVIDIA graphics card (about 3 GB to download)</source>
   <translation>Für eine NVIDIA-Grafikkarte (etwa 3 GB zum Herunterladen)</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Or use an engine that is there</source>
   <translation>Oder eine vorhandene Engine benutzen</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>path of the program crackgeo; empty: as above</source>
   <translation>Pfad des Programms crackgeo; leer: wie oben</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Program</source>
   <translation>Programm</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Cancel</source>
   <translation>Abbrechen</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Looking for the engine...</source>
   <translation>Die Engine wird gesucht...</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Setting up the engine. This window may be closed meanwhile.</source>
   <translation>Die Engine wird eingerichtet. Dieses Fenster darf inzwischen geschlossen werden.</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Remove the engine that this plugin has set up?</source>
   <translation>Die Engine entfernen, die diese Erweiterung eingerichtet hat?</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>The engine that was found cannot be used.</source>
   <translation>Die gefundene Engine ist nicht zu gebrauchen.</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>The engine has problems:</source>
   <translation>Die Engine hat Probleme:</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>What</source>
   <translation>Was</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Found</source>
   <translation>Gefunden</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Set up</source>
   <translation>Einrichten</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Remove</source>
   <translation>Entfernen</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Check again</source>
   <translation>Erneut prüfen</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Copy diagnostics</source>
   <translation>Diagnose kopieren</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>stopping...</source>
   <translation>wird beendet...</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>That did not work.</source>
   <translation>Das hat nicht geklappt.</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>There is no engine yet.</source>
   <translation>Es gibt noch keine Engine.</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Set up makes one in some minutes.</source>
   <translation>„Einrichten“ legt in einigen Minuten eine an.</translation>
  </message>
  <message>
   <location filename="../gui/environment_dialog.py" />
   <source>Cancelled.</source>
   <translation>Abgebrochen.</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>Crack models (*.safetensors)</source>
   <translation>Rissmodelle (*.safetensors)</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>its coordinate system is {} in QGIS, but {} in the file, which the engine reads. Raster &gt; Projections &gt; Assign Projection writes it into the file; then load it anew</source>
   <translation>Das Koordinatensystem ist in QGIS {}, in der Datei aber {}, und die Engine liest die Datei. Raster &gt; Projektionen &gt; Projektion zuweisen schreibt es in die Datei; laden Sie sie dann neu</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>the layer {} has this file open. Remove the layer, or choose another name</source>
   <translation>Der Layer {} hat diese Datei geöffnet. Entfernen Sie den Layer oder wählen Sie einen anderen Namen</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>save the layer as a GeoTIFF first (Export &gt; Save As), the engine reads files only</source>
   <translation>Speichern Sie den Layer zuerst als GeoTIFF (Export &gt; Speichern als); die Engine liest nur Dateien</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>this extent has no area</source>
   <translation>diese Ausdehnung hat keine Fläche</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>its coordinate system is not known</source>
   <translation>ihr Koordinatensystem ist nicht bekannt</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>it does not lie where the image's coordinate system is used</source>
   <translation>sie liegt nicht dort, wo das Koordinatensystem des Bildes gilt</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>the file must end in {}, not {}</source>
   <translation>die Datei muss auf {} enden, nicht {}</translation>
  </message>
  <message>
   <location filename="../layer_parameters.py" />
   <source>{} cannot be read ({})</source>
   <translation>{} kann nicht gelesen werden ({})</translation>
  </message>
  <message>
   <location filename="../layers.py" />
   <source>Crack probability</source>
   <translation>Risswahrscheinlichkeit</translation>
  </message>
  <message>
   <location filename="../layers.py" />
   <source>Coverage</source>
   <translation>Untersuchtes Gebiet</translation>
  </message>
  <message>
   <location filename="../layers.py" />
   <source>Crack outlines</source>
   <translation>Rissumrisse</translation>
  </message>
  <message>
   <location filename="../layers.py" />
   <source>Widths at stations</source>
   <translation>Breiten an Stationen</translation>
  </message>
  <message>
   <location filename="../parameters.py" />
   <source>{}: the expression {} has no value ({})</source>
   <translation>{}: der Ausdruck {} hat keinen Wert ({})</translation>
  </message>
  <message>
   <location filename="../parameters.py" />
   <source>{} does not lie between {} and {}</source>
   <translation>{} liegt nicht zwischen {} und {}</translation>
  </message>
  <message>
   <location filename="../parameters.py" />
   <source>{} is no number; fractions have a point, as in 0.25</source>
   <translation>{} ist keine Zahl; Brüche haben einen Punkt, wie 0.25</translation>
  </message>
  <message>
   <location filename="../parameters.py" />
   <source>{} is no whole number</source>
   <translation>{} ist keine ganze Zahl</translation>
  </message>
  <message>
   <location filename="../parameters.py" />
   <source>{} is none of {}</source>
   <translation>{} ist keines von {}</translation>
  </message>
  <message>
   <location filename="../plugin.py" />
   <source>Engine...</source>
   <translation>Engine...</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>preparing</source>
   <translation>Vorbereiten</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>looking at tiles</source>
   <translation>Kacheln ansehen</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>finding centre lines</source>
   <translation>Mittellinien finden</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>measuring widths</source>
   <translation>Breiten messen</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>counting the area surveyed</source>
   <translation>Untersuchte Fläche zählen</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>writing</source>
   <translation>Schreiben</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>reading labels</source>
   <translation>Markierungen lesen</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>judging the model</source>
   <translation>Modell beurteilen</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>training</source>
   <translation>Trainieren</translation>
  </message>
  <message>
   <location filename="../progress.py" />
   <source>{} left in this step</source>
   <translation>noch {} in diesem Schritt</translation>
  </message>
 </context>
</TS>
