"""How good a model is: metrics, calibration, tables and sheets of predictions."""
