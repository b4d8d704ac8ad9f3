"""Training of crackgeo's models, in rooms that import one way.

From the bottom up: `drawing` (pictures for what real sets lack), `pictures` (labelled ones, and the
samples of a run), `labelling` (chips cut from a user's own rasters and labels), `scoring` (metrics,
calibration, tables and sheets), `learning` (networks and the run that `config` describes),
`finetuning` (from a model that exists to one for local pictures). The commands beside them are
`draw_set`, `export` and `paper`; `crackgeo train`, `finetune`, `chips` and `evaluate` start others.
"""
