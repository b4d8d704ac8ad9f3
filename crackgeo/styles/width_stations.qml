<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology|Fields|Rendering" hasScaleBasedVisibilityFlag="1" minScale="25" maxScale="0">
  <renderer-v2 type="graduatedSymbol" attr="width_mm" graduatedMethod="GraduatedColor" symbollevels="0" enableorderby="0" forceraster="0">
    <ranges>
      $ranges
    </ranges>
    <symbols>
      $markers
    </symbols>
  </renderer-v2>
  <layerOpacity>1</layerOpacity>
  <aliases>
    $aliases
  </aliases>
  <previewExpression>round("width_mm", $digits) || ' $milli'</previewExpression>
</qgis>
