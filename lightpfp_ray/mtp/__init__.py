"""The moment tensor potential: `levels` counts, `radial` and `moments` hold the equations, `model`
the parameters.
"""
