"""Differential equations for networks: problems, trial functions, points, weights.

| problem            | equation                                           | parameters                 | reference             |
|--------------------|----------------------------------------------------|----------------------------|-----------------------|
| poisson            | div(a grad u) = f, u = 0 on the sides of [-1, 1]^2 | frequency, power, contrast | formula               |
| poisson_jump       | div(eps grad u) = f, eps jumps at x = 0            | ratio, frequency           | formula               |
| helmholtz          | u_xx + u_yy + k^2 u = -f, u = 0 on the sides       | wave_number                | Chebyshev collocation |
| heat               | u_t = D u_xx, u = 0 at x = -1, 1                   | diffusivity                | formula               |
| burgers            | u_t + u u_x = nu u_xx, u = 0 at x = -1, 1          | nu                         | Cole-Hopf             |
| reaction_diffusion | u_t = D u_xx + rho u (1 - u), periodic             | diffusion, reaction        | cosine collocation    |
| allen_cahn         | u_t = eps u_xx + rho (u - u^3), periodic           | diffusion, reaction        | cosine collocation    |

`PROBLEMS` has their factories by name: PROBLEMS["burgers"](nu=0.02). Each stands in a file of its name and is imported when
it is asked for.

    problem                Problem, Part: equation, conditions, objective, errors
    trial                  Trial: conditions by construction, embeddings, level sets
    sampling               grids, random and Sobol points; points where the residual is large
    weighting              Attention, Causal: weights that follow the residuals
"""

from collections.abc import Mapping
from importlib import import_module

NAMES = ("poisson", "poisson_jump", "helmholtz", "heat", "burgers", "reaction_diffusion", "allen_cahn")


class _Problems(Mapping):
    """{name: factory}, imported when looked up."""

    def __getitem__(self, name):
        if name not in NAMES:
            raise KeyError(name)
        return getattr(import_module(f"kanref.pde.{name}"), name)

    def __iter__(self):
        return iter(NAMES)

    def __len__(self):
        return len(NAMES)


PROBLEMS = _Problems()
