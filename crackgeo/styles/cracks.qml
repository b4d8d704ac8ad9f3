<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology|Fields|Rendering" hasScaleBasedVisibilityFlag="0">
  <renderer-v2 type="graduatedSymbol" graduatedMethod="GraduatedColor" attr="coalesce(&quot;width_mean_mm&quot;, 0)" symbollevels="0" enableorderby="0" forceraster="0">
    <ranges>
      $ranges
    </ranges>
    <symbols>
      $lines
    </symbols>
  </renderer-v2>
  <blendMode>0</blendMode>
  <layerOpacity>1</layerOpacity>
  <aliases>
    $aliases
  </aliases>
  <previewExpression>'crack ' || "crack_id" || ', ' || round("length_m", 2) || ' m, ' || coalesce(round("width_mean_mm", 1), '?') || ' mm'</previewExpression>
</qgis>
