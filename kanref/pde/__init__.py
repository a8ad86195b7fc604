"""Differential equations for networks: problems, trial functions, points, weights.

| problem              | file                 | equation                                                            |
|----------------------|----------------------|---------------------------------------------------------------------|
"""
