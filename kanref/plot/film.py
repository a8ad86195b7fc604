"""A film of training: the network's diagram every few steps, as a GIF."""

from dataclasses import dataclass

import numpy as np

from kanref import arrays as border
from kanref import grids
from kanref.network import KAN
from kanref.plot.diagram import network
from kanref.plot.style import seen

HELD = 2.0  # seconds that the last frame stays longer


@dataclass(frozen=True, eq=False)
class Frame:
    """What a picture needs: the network, its parameters, and the step, counted through all runs."""

    net: KAN
    theta: np.ndarray
    step: int


class Film:
    """A callback of `fit` that remembers parameters, and draws and writes them when asked to.

        film = plot.Film(model, X, every=5)
        model.fit(X, y, callback=film)
        film.save("training.gif")

    model: whose `fit` is filmed; X: samples for the curves; every: steps from frame to frame; limit: the most frames:
    when there are more, every second one goes and `every` doubles, so that the film always shows the whole training in
    memory for `limit` parameter vectors. options: of `network`, as names, outputs, beta, title.

    `fit(intervals=...)` is followed from grid to grid by the number of parameters. After anything else that changes the
    network (update_grid, pruning, formulas) begin a new film with the new model.
    """

    def __init__(self, model, X, every=5, limit=100, **options):
        self.X, names = seen(model, X, options.get("names"))
        self.every, self.limit = border.integer(every, "every", 1), border.integer(limit, "limit", 2)
        self.options, self.frames = {**options, "names": names}, []
        self._net, self._last, self._before = model.net, None, 0

    def __call__(self, state):
        """Remember the parameters of an `optimize.State`. Raises ValueError if they are not of the film's network."""
        if self._last is not None and state.step == 0:
            self._before = self._last.step  # a new run begins
        self._net = _on_grid(self._net, state.theta)
        self._last = Frame(self._net, state.theta, self._before + state.step)
        if self._last.step % self.every == 0 and not self._ends_with_last():
            self.frames.append(self._last)
        if len(self.frames) > self.limit:
            self.every *= 2
            self.frames = [frame for frame in self.frames if frame.step % self.every == 0]

    def _ends_with_last(self):
        return bool(self.frames) and self.frames[-1].step == self._last.step

    def figures(self):
        """The Figure of every frame, the last state of training included, one at a time."""
        if self._last is None:
            raise ValueError("the film has no frames: train with fit(..., callback=film) first")
        title = self.options.get("title")
        for frame in self.frames if self._ends_with_last() else [*self.frames, self._last]:
            words = {**self.options, "title": f"{title}, step {frame.step}" if title else f"step {frame.step}"}
            yield network(frame, self.X, **words)

    def save(self, path, seconds=0.15, dpi=100):
        """Write a GIF that shows every frame for so many seconds, the last one for two more, and starts again.

        Needs Pillow, which comes with matplotlib. Raises ValueError if there are no frames or `path` has another ending.
        """
        from matplotlib.animation import PillowWriter

        if not str(path).endswith(".gif"):
            raise ValueError(f"a film is a GIF, so path must end in .gif, but it is {str(path)!r}")
        if not seconds > 0:
            raise ValueError(f"seconds must be a positive number, but it is {seconds!r}")
        writer = PillowWriter(fps=1 / seconds)
        for k, figure in enumerate(self.figures()):
            if k == 0:
                writer.setup(figure, path, dpi)
            writer.fig = figure
            writer.grab_frame()
        for _ in range(round(HELD / seconds)):
            writer.grab_frame()
        writer.finish()


def _on_grid(net, theta):
    """The network that theta belongs to: `net`, or `net` with as many intervals as fit the number of parameters."""
    if theta.size == net.size:
        return net
    nothing = np.zeros(net.size)
    one, two = (grids.extend(net, nothing, G)[0].size for G in (1, 2))
    more, rest = divmod(theta.size - one, two - one) if two > one else (-1, 0)
    if rest or more < 0:
        raise ValueError(
            f"the film is of a network with {net.size} parameters, but theta has {theta.size}, which no number of intervals "
            "explains; begin a new film with the new model"
        )
    return grids.extend(net, nothing, more + 1)[0]
