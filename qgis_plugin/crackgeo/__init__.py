"""crackgeo in QGIS: cracks from the Processing toolbox. The work is done by the engine."""


def classFactory(iface):
    """Make the plugin; `iface` is None under qgis_process."""
    from .plugin import CrackgeoPlugin

    return CrackgeoPlugin(iface)
