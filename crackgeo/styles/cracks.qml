<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology|Labeling|Fields|Rendering" labelsEnabled="1" hasScaleBasedVisibilityFlag="0">
  <renderer-v2 type="graduatedSymbol" graduatedMethod="GraduatedColor" attr="coalesce(&quot;width_mean_mm&quot;, -1)" symbollevels="0" enableorderby="0" forceraster="0">
    <ranges>
      $crack_ranges
    </ranges>
    <symbols>
      $lines
    </symbols>
  </renderer-v2>
  <labeling type="simple">
    <settings>
      <text-style fieldName="format_number(&quot;width_mean_mm&quot;, $digits) || ' $milli'" isExpression="1" fontSize="9" fontSizeUnit="Point" fontWeight="75" textColor="0,0,0,255" textOpacity="1">
        <text-buffer bufferDraw="1" bufferSize="1" bufferSizeUnits="MM" bufferColor="255,255,255,255" bufferOpacity="1"/>
      </text-style>
      <placement placement="2" placementFlags="10" dist="0.6" distUnits="MM" priority="5"/>
      <rendering drawLabels="1" scaleVisibility="1" scaleMin="0" scaleMax="50" obstacle="0"/>
    </settings>
  </labeling>
  <blendMode>0</blendMode>
  <layerOpacity>1</layerOpacity>
  <aliases>
    $aliases
  </aliases>
  <previewExpression>'crack ' || "crack_id" || ', ' || round("length_m", 2) || ' $metre, ' || coalesce(round("width_mean_mm", $digits), '?') || ' $milli'</previewExpression>
</qgis>
