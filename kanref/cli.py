"""The command line; `kanref --help` lists the commands, from fit and solve to conformance, compare and ledger.

Exit codes: 0 done; 1 a check failed; 2 the input or the arguments cannot be used (one line on stderr says why); 130
ended by Ctrl-C, after the best so far was written if there was any. Results go to stdout, remarks and bars to stderr.
"""

import argparse
import json
import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from inspect import getattr_static
from pathlib import Path

import kanref
from kanref.papers import EXPERIMENTS
from kanref.words import aligned

EXAMPLES = """\
examples:
  kanref demo                                       data made on the spot, all results in kanref-demo/
  kanref fit houses.csv --target price              train, judge, write the folder kanref-out/
  kanref predict kanref-out new.csv > prices.csv    use what was trained
  kanref solve burgers --param nu=0.02              a differential equation, results in kanref-solve/
  kanref adapt kanref-solve burgers --param nu=0.03 its network for another one, results in kanref-adapt/
  kanref check                                      test the gradients on this machine
  kanref ledger                                     what other libraries get wrong, beside the right values
"""
FIT_EXAMPLES = """\
examples:
  kanref fit houses.csv --target price
  kanref fit houses.csv --target price --drop id,address --out houses --overwrite
  kanref fit flowers.csv --target species --hidden 5 --intervals 3,5,10
  kanref fit signal.csv --target y --hidden 0         no hidden nodes: a sum of functions of one variable
  kanref fit law.csv --target y --symbolic            sparsify, prune, and read off a formula

The file has a header and one row for each sample; comma, semicolon or tab; UTF-8. Empty cells, NA, nan, null and ? are
missing values. Text columns are categories. Left open, the network, its grids and the method are chosen from the size
of the table; of all that was tried, what has the lowest validation loss is kept. Ctrl-C keeps the best so far.
"""
PREDICT_EXAMPLES = """\
examples:
  kanref predict kanref-out new.csv                 CSV on stdout
  kanref predict kanref-out/model.safetensors new.csv --out predictions.csv

If the file has the target column too, the figures of the prediction are printed to stderr.
"""

CONVERT_EXAMPLES = """\
examples:
  kanref convert model/0.1 model.safetensors            a checkpoint of pykan becomes a model of kanref
  kanref convert kanref-out model/0.1                   and back: pykan.KAN.loadckpt("model/0.1")
  kanref convert model/0.1 small.pt --to efficient-kan  for load_state_dict(torch.load("small.pt"))
  kanref convert model.npz model.safetensors            parameters and grids of jaxKAN

Neither torch nor jax is needed, and nothing in a file is executed. What cannot be kept is refused, and named. B is read again
and compared with A on random samples.
"""

CONFORMANCE_EXAMPLES = """\
examples:
  kanref conformance kanref.golden.adapters.kanref       kanref itself: how far from the reference, group by group
  kanref conformance kanref.golden.adapters.pykan        pykan, where it is installed; also efficient_kan, jaxkan, fast_kan
  kanref conformance mylib.kanref_adapter --group bspline

Your own adapter is a module in the current folder or installed, with a function for every operation that it offers;
python -c "from kanref.golden import protocol; print(protocol.table())" lists them. A library that kanref ledger
knows is also asked what no vector can express: files, seeds, formulas, training (not with --group). The exit code is 0 if nothing
failed.
"""

LEDGER_EXAMPLES = """\
examples:
  kanref ledger                                     all rows: right value, kanref's, and what other libraries gave
  kanref ledger B1 B4                               these, with derivation and reproduction
  kanref ledger --peers ~/torch-env/bin/python      ask the libraries that are installed there; a defect that is gone shows

A library is asked in a process of its own, which may fail in any way; of those that are not installed, the recorded value is
shown, or the published formula is evaluated. The exit code is 0 if kanref is right everywhere.
"""

COMPARE_EXAMPLES = """\
examples:
  kanref compare kanref-out model/0.1                    a model of kanref and a checkpoint of pykan
  kanref compare a.safetensors b.pt --data houses.csv    on data, which every model reads by its own columns
  kanref compare kanref-out kanref.golden.adapters.pykan a model and an implementation, where it is installed
  kanref compare kanref-out mylib.kanref_adapter:adapter --json

A is a file of kanref, pykan, efficient-kan, fast-kan, ChebyKAN or jaxKAN, B another, or an implementation as `kanref conformance`
takes it, which is asked for A's network. Every layer of B is fed what A feeds its own, so that the first layer, edge and sample
is found where they part. Exit code 0 if they agree, 1 if they part.
"""

SOLVE_EXAMPLES = """\
examples:
  kanref solve burgers                              error by level, model and figure in kanref-solve/
  kanref solve helmholtz --param wave_number=3 --levels 4 --minutes 2
  kanref solve poisson_jump --widths 3,10,1 --soft
  kanref solve list                                 all problems, their equations and parameters

Training goes from coarse to fine grids: L-BFGS at first, then Levenberg-Marquardt on every level. Ctrl-C keeps the best so far.
"""
ADAPT_EXAMPLES = """\
examples:
  kanref solve heat --param diffusivity=0.1         the base, in kanref-solve/
  kanref adapt kanref-solve heat --param diffusivity=0.12
  kanref adapt kanref-solve heat --param diffusivity=0.2 --ranks 6 --out heat-0.2
  kanref adapt kanref-solve heat --param diffusivity=0.2 --method full --out heat-full

The base is frozen, and an adapter of low tensor rank is trained from coarse to fine grids, as kanref solve trains. Expect it to
leave a small part of the error that the unchanged network has; the last line says how much. All weights (--method full) come
nearer to solving anew, in less time, but leave no small adapter. If the solution changes its character, solve anew. Ctrl-C keeps
the best so far.
"""

JOB = ("task", "drop", "split", "hidden", "intervals", "degree", "optimizer", "steps", "sparsify")  # as in fit, for demo
SPARSITY = 1e-2


def main(arguments=None):
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("\nkanref: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of stdout went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"kanref: error: {error}", file=sys.stderr)
        return 2


# -------------------------------------------------------------------------------------------------------- arguments


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "kanref", description="Kolmogorov-Arnold networks for tables of data.", epilog=EXAMPLES, formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=f"kanref {kanref.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    fit = commands.add_parser("fit", help="train on a CSV file", epilog=FIT_EXAMPLES, formatter_class=raw)
    fit.add_argument("data", metavar="DATA.csv")
    fit.add_argument("--target", required=True, metavar="NAME", help="the column to predict")
    fit.add_argument("--task", choices=("auto", "regression", "classification"), default="auto")
    fit.add_argument("--drop", type=_words, default=(), metavar="A,B", help="columns not to use")
    shares = "shares of training, validation and test rows (default 0.7,0.15,0.15)"
    fit.add_argument("--split", type=_numbers, metavar="A,B,C", help=shares)
    levels = "nodes of the hidden levels, 0 for none (default: none and one level, the better is kept)"
    fit.add_argument("--hidden", type=_hidden, metavar="5 or 5,3", help=levels)
    fit.add_argument("--intervals", type=_counts, metavar="3,5,10", help="intervals of the grids, coarse to fine")
    fit.add_argument("--degree", type=int, default=3, help="of the splines (default 3)")
    fit.add_argument("--optimizer", choices=("lbfgs", "adam", "lm"), help="default: lbfgs, adam for large tables")
    fit.add_argument("--steps", type=int, help="training steps on each grid")
    thin = "train with a sparsity penalty of this weight (default 0.01), prune, and draw the network"
    fit.add_argument("--sparsify", type=float, nargs="?", const=SPARSITY, metavar="WEIGHT", help=thin)
    fit.add_argument("--symbolic", action="store_true", help="go on to a formula in the table's units")
    _writing(fit, "kanref-out")
    fit.set_defaults(run=_fit)

    predict = commands.add_parser("predict", help="use a trained model", epilog=PREDICT_EXAMPLES, formatter_class=raw)
    predict.add_argument("model", metavar="MODEL", help="a model file, or the folder that kanref fit wrote")
    predict.add_argument("data", metavar="DATA.csv")
    predict.add_argument("--out", metavar="FILE", help="default: stdout")
    predict.add_argument("--overwrite", action="store_true", help="replace the file")
    predict.set_defaults(run=_predict)

    about = "from one library's model file to another's"
    convert = commands.add_parser("convert", help=about, epilog=CONVERT_EXAMPLES, formatter_class=raw)
    convert.add_argument("source", metavar="A", help="a file of kanref, pykan, efficient-kan, fast-kan, ChebyKAN or jaxKAN")
    convert.add_argument("target", metavar="B", help="its suffix says what it shall be, else --to")
    kinds = ("kanref", "pykan", "efficient-kan", "fast-kan", "cheby-kan", "jaxkan")
    convert.add_argument("--to", choices=kinds, help="what B shall be (default: as its suffix says)")
    kept = "columns of the data that the inputs of A are, from 0: pykan does not store what prune_input kept"
    convert.add_argument("--columns", type=_counts, metavar="0,2", help=kept)
    convert.add_argument("--lossy", action="store_true", help="write B even if it is another function; the report says how")
    convert.add_argument("--overwrite", action="store_true", help="replace B")
    convert.set_defaults(run=_convert)

    demo = commands.add_parser("demo", help="the same as fit, on data made on the spot")
    read = "data of a formula, and the pipeline that finds it: sparsify, prune, make symbolic"
    demo.add_argument("--symbolic", action="store_true", help=read)
    _writing(demo, "kanref-demo")
    demo.set_defaults(run=_demo, **{name: fit.get_default(name) for name in JOB})

    about = "solve a differential equation by a network"
    solve = commands.add_parser("solve", help=about, epilog=SOLVE_EXAMPLES, formatter_class=raw)
    solve.add_argument("problem", metavar="PROBLEM", help="a name, or `list` for all of them")
    param = "a parameter of the equation; may be given again"
    solve.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help=param)
    solve.add_argument("--widths", type=_counts, metavar="2,8,1", help="nodes of every level of the network, inputs first")
    solve.add_argument("--intervals", type=int, help="of the coarsest grid")
    solve.add_argument("--degree", type=int, help="of the splines")
    solve.add_argument("--levels", type=int, help="grids, each twice as fine as the one before")
    steps = "steps of L-BFGS at first, and of Levenberg-Marquardt on every level"
    solve.add_argument("--steps", type=_counts, metavar="200,40", help=steps)
    solve.add_argument("--minutes", type=float, help="of training at most")
    conditions = solve.add_mutually_exclusive_group()
    hard = {"action": "store_const", "dest": "hard"}
    conditions.add_argument("--hard", const=True, help="conditions built into the network", **hard)
    conditions.add_argument("--soft", const=False, help="conditions in the loss", **hard)
    _writing(solve, "kanref-solve")
    solve.set_defaults(run=_solve)

    about = "carry a solution over to an equation with other parameters"
    adapt = commands.add_parser("adapt", help=about, epilog=ADAPT_EXAMPLES, formatter_class=raw)
    adapt.add_argument("model", metavar="MODEL", help="the folder or model file that kanref solve or kanref adapt wrote")
    adapt.add_argument("problem", metavar="PROBLEM", help="the name of the new problem, as a rule the same")
    changed = "a parameter that changes; may be given again; the others stay"
    adapt.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help=changed)
    how = "lm: an adapter by Levenberg-Marquardt (default); adam: the same by Adam; full: all weights"
    adapt.add_argument("--method", choices=("lm", "adam", "full"), default="lm", help=how)
    ranks = "of the adapter: one number, or those along outputs, inputs, basis (default 4)"
    adapt.add_argument("--ranks", type=_counts, metavar="4 or 4,2,4", help=ranks)
    adapt.add_argument("--layers", type=_counts, metavar="0,1", help="which are adapted, from 0 (default: all)")
    adapt.add_argument("--steps", type=int, help="on every grid (default: lm 15, adam 200, full 10)")
    adapt.add_argument("--rate", type=float, help="of Adam, on the coarsest grid (default 0.03)")
    adapt.add_argument("--minutes", type=float, help="of training at most")
    _writing(adapt, "kanref-adapt")
    adapt.set_defaults(run=_adapt)

    check = commands.add_parser("check", help="test the gradients of networks of every kind")
    check.add_argument("--seed", type=int, default=0, help="of the random networks (default 0)")
    check.set_defaults(run=_check)

    about = "put another implementation of KANs to the golden vectors"
    conformance = commands.add_parser("conformance", help=about, epilog=CONFORMANCE_EXAMPLES, formatter_class=raw)
    what = "a module or object with functions of kanref.golden.protocol, as mylib.kanref_adapter"
    conformance.add_argument("adapter", metavar="MODULE:NAME", help=what)
    conformance.add_argument("--group", type=_words, metavar="A,B", help="only these groups")
    conformance.add_argument("--dtype", choices=("float64", "float32"), help="only in this precision (default: both)")
    conformance.add_argument("--json", action="store_true", help="print the report as JSON")
    conformance.set_defaults(run=_conformance)

    about = "what libraries of KANs get wrong: right values, kanref's, theirs"
    ledger = commands.add_parser("ledger", help=about, epilog=LEDGER_EXAMPLES, formatter_class=raw)
    ledger.add_argument("numbers", nargs="*", metavar="B1", help="rows to tell about at length (default: all, in short)")
    other = "an interpreter that has the other libraries (default: the one that runs kanref)"
    ledger.add_argument("--peers", default=sys.executable, metavar="PYTHON", help=other)
    ledger.add_argument("--json", action="store_true", help="print everything as JSON")
    ledger.add_argument("--record", metavar="FILE", help="write the libraries' answers there, too")
    ledger.set_defaults(run=_ledger)

    about = "where two models, or a model and an implementation, part, and why"
    compare = commands.add_parser("compare", help=about, epilog=COMPARE_EXAMPLES, formatter_class=raw)
    compare.add_argument("a", metavar="A", help="a model's file, of any library, or the folder that kanref fit wrote")
    compare.add_argument("b", metavar="B", help="another, or MODULE:NAME of an implementation")
    compare.add_argument("--data", metavar="X.csv", help="samples (default: random points of the domain, knots, points outside)")
    share = "share of the largest value that is fair (default: certified rounding errors, where bounds are known)"
    compare.add_argument("--tolerance", type=float, metavar="1e-6", help=share)
    compare.add_argument("--seed", type=int, default=0, help="of the random points (default 0)")
    compare.add_argument("--json", action="store_true", help="print the report as JSON")
    compare.set_defaults(run=_compare)

    known = "experiments:\n" + aligned([(f"  {name}", what) for name, what in EXPERIMENTS.items()], 2)
    about = "the papers' tables and figures, beside their numbers"
    reproduce = commands.add_parser("reproduce", help=about, epilog=known, formatter_class=raw)
    reproduce.add_argument("name", metavar="NAME", choices=tuple(EXPERIMENTS), help="of an experiment below")
    reproduce.add_argument(
        "--out", default="kanref-reproduce", metavar="DIR", help="default kanref-reproduce; resumes there"
    )
    reproduce.add_argument("--short", action="store_true", help="a small part of it, in seconds")
    reproduce.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    reproduce.add_argument("--quiet", action="store_true", help="no progress bars")
    reproduce.set_defaults(run=_reproduce)

    bench = commands.add_parser("bench", help="measure the speed, beside other libraries if given")
    bench.add_argument("--peers", metavar="PYTHON", help="an interpreter that has the other libraries")
    bench.add_argument("--cases", type=_words, metavar="A,B", help="only these")
    bench.add_argument("--json", metavar="FILE", help="write all figures there")
    bench.add_argument("--quick", action="store_true", help="fewer rounds")
    bench.set_defaults(run=_bench)
    return parser


def _reproduce(options):
    from importlib import import_module

    os.makedirs(options.out, exist_ok=True)
    progress = False if options.quiet else None
    if options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, but it is {options.jobs}")
    print(import_module(f"kanref.papers.{options.name}").run(options.out, progress, options.short, options.jobs))
    stem = options.name + "-short" * options.short
    print(f"written: {options.out}/{stem}.json and {stem}.png", file=sys.stderr)
    return 0


def _writing(parser, folder):
    parser.add_argument("--out", default=folder, metavar="DIR", help=f"folder of the results (default {folder})")
    parser.add_argument("--overwrite", action="store_true", help="replace results in that folder")
    parser.add_argument("--seed", type=int, default=0, help="of splits and starting values (default 0)")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _words(text):
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _of(number, text, wanted):
    try:
        return tuple(number(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{wanted} separated by commas are expected, not {text!r}") from None


def _numbers(text):
    return _of(float, text, "numbers")


def _counts(text):
    return _of(int, text, "whole numbers")


def _hidden(text):
    counts = _counts(text)
    if counts != (0,) and min(counts) < 1:
        raise argparse.ArgumentTypeError(f"every level needs at least one node, and 0 alone means none, not {text!r}")
    return () if counts == (0,) else counts


# --------------------------------------------------------------------------------------------------------- commands


def _fit(options):
    with _results_folder(options) as folder:
        return _job(options, options.data, folder)


def _demo(options):
    from kanref.tables import write_csv

    say = _printer(options)
    with _results_folder(options) as folder:
        options.target, path = ("y", folder / "hello.csv") if options.symbolic else ("range", folder / "throws.csv")
        names, columns = hello() if options.symbolic else throws()
        write_csv(path, names, columns)
        if options.symbolic:
            say(f"{len(columns[0])} points in {path} of a formula, which is to be found from them alone: this is what")
            say(f"`kanref fit {path} --target y --symbolic` does.\n")
        else:
            say(f"{len(columns[0])} throws of a ball in {path}: how far do they go? The ranges were measured with an error")
            say(f"of {NOISE} m, so no RMSE can be much lower. This is what `kanref fit {path} --target range` does:\n")
        code = _job(options, path, folder)
        if not options.symbolic:
            say(f"\nThe functions that were learnt are drawn in {folder / 'edges.png'}. Go on with")
            say(f"  kanref predict {folder} {path} | head")
    return code


def _job(options, source, folder):
    """Read, prepare, train, write, telling about each; returns the exit code."""
    from kanref import job
    from kanref.tables import read_csv

    say = _printer(options)
    table = read_csv(source)
    common = {"task": options.task, "drop": options.drop, "seed": options.seed}
    prepared = job.prepare(table, options.target, fractions=options.split or job.FRACTIONS, **common)
    say(job.overview(prepared) + "\n")
    progress = not options.quiet and sys.stderr.isatty()
    asked = ("hidden", "intervals", "degree", "steps", "optimizer", "sparsify", "symbolic")
    choices = {name: getattr(options, name) for name in asked}
    step = lambda what, widths, size, error: say(f"{what:<32}{str(list(widths)):<16}{size:>6} parameters  {error:.2e}")
    fitted = job.train(prepared, progress=progress, say=step, **choices)
    if fitted.interrupted:
        print("\nkanref: interrupted; what follows is the best so far", file=sys.stderr)
    say(("\n" if progress or options.symbolic else "") + job.networks(fitted) + "\n\n" + job.comparison(fitted))
    if told := job.words(fitted):
        say("\n" + told)
    written = job.write_results(fitted, folder)
    say(f"\nwritten to {folder}")
    say(aligned([(f"  {path.name}", what) for path, what in written.items()], 2))
    return 130 if fitted.interrupted else 0


def _predict(options):
    import csv

    from kanref import job
    from kanref.model import Model
    from kanref.tables import read_csv, write_csv

    path = Path(options.model)
    model = Model.load(path / "model.safetensors" if path.is_dir() else path)
    if options.out and os.path.exists(options.out) and not options.overwrite:
        raise FileExistsError(f"{options.out} exists; choose another file or add --overwrite")
    predicted = job.predict_table(model, read_csv(options.data))
    names, columns = list(predicted.columns), [column.tolist() for column in predicted.columns.values()]
    if options.out:
        write_csv(options.out, names, columns)
    else:
        csv.writer(sys.stdout, lineterminator="\n").writerows([names, *zip(*columns)])
        sys.stdout.flush()
    for note in predicted.notes:
        print(f"kanref: note: {note}", file=sys.stderr)
    if predicted.metrics:
        shown = ", ".join(f"{job.FIGURES[name]} {job.cell(value)}" for name, value in predicted.metrics.items())
        print(f"kanref: against the target in {options.data}: {shown}", file=sys.stderr)
    return 0


def _convert(options):
    from kanref.interop.convert import convert

    reading = {} if options.columns is None else {"columns": options.columns}
    reports = convert(options.source, options.target, options.to, not options.lossy, options.overwrite, **reading)
    print("\n".join(map(str, reports)))
    return 0


def _solve(options):
    from kanref import solve

    if options.problem == "list":
        print(f"problems, their equations and parameters:\n{solve.overview()}")
        return 0
    problem = solve.make(options.problem, solve.parameters_of(options.param))
    asked = ("widths", "intervals", "degree", "levels", "steps", "hard")
    choices = {name: getattr(options, name) for name in asked}
    heading = solve.heading(problem, solve.plan_of(problem, **choices))
    return _solution(options, heading, lambda **how: solve.solve(problem, **how, **choices))


def _adapt(options):
    from kanref import adapt, solve

    base = Path(options.model)
    if (base if base.is_dir() else base.parent).resolve() == Path(options.out).resolve():
        raise ValueError(f"{options.out} holds the base, which the adapter needs; choose another folder with --out")
    solved, *network = solve.load(base)
    kept = solved.parameters if solved.name == options.problem else {}
    problem = solve.make(options.problem, kept | solve.parameters_of(options.param))
    ranks = options.ranks[0] if options.ranks and len(options.ranks) == 1 else options.ranks
    asked = ("method", "layers", "steps", "rate")
    task = adapt.prepare((solved, *network), problem, ranks=ranks, **{name: getattr(options, name) for name in asked})
    return _solution(options, task.heading(), task.run)


def _solution(options, heading, run):
    """Tell what is done, do it, tell what came out and write it; returns the exit code."""
    say = _printer(options)
    say(heading + "\n")
    with _results_folder(options) as folder:
        progress = not options.quiet and sys.stderr.isatty()
        found = run(minutes=options.minutes, seed=options.seed, progress=progress)
        if found.interrupted:
            print("\nkanref: interrupted; what follows is the best so far", file=sys.stderr)
        say(found.table() + "\n\n" + found.verdict())
        written = found.write(folder)
        say(f"\nwritten to {folder}")
        say(aligned([(f"  {path.name}", what) for path, what in written.items()], 2))
    return 130 if found.interrupted else 0


def _check(options):
    from kanref import check

    with _counter() as say:
        rows = check.run(options.seed, say)
    print(check.table(rows))
    return 0 if all(row.passed for row in rows) else 1


def _conformance(options):
    from kanref.golden import conformance
    from kanref.ledger.peers import PEERS

    sys.path.insert(0, os.getcwd())  # adapters are looked for here, too, as `python -m` does
    dtypes = conformance.DTYPES if options.dtype is None else [options.dtype]
    with _counter() as say, redirect_stdout(sys.stderr):  # what an adapter prints is no part of the report
        adapter = conformance.load(options.adapter)
        report = conformance.run(adapter, options.group, dtypes, say)
        library = getattr_static(adapter, "library", None)
        known = isinstance(library, str) and library in PEERS and not options.group and not report.left
        beyond = _of_the_ledger(library, say) if known else None
    found, text = json.loads(report.json()), report.table()
    if beyond is not None:
        found["beyond"] = json.loads(beyond.json())["rows"]
        text += f"\n\nbeyond the vectors, by `kanref ledger`:\n\n{beyond.table()}"
    print(json.dumps(found, indent=1) if options.json else text)
    sound = beyond is None or all(entry.verdict.startswith("right") for *_, told in beyond.rows for entry in told)
    return 130 if report.left else 0 if report.passed and sound else 1


def _of_the_ledger(library, say):
    """The ledger's report on one library, as it is in this interpreter: its ways with files, seeds, formulas, training."""
    from kanref import ledger
    from kanref.ledger.peers import PEERS, ask
    from kanref.ledger.report import report

    answers = ask(sys.executable, None, say, {library: PEERS[library]})
    rows = [replace(row, peers=(library,), wrong={}) for row in ledger.rows() if (row.number, library) in answers]
    return report(rows, answers)


def _ledger(options):
    from kanref import ledger
    from kanref.ledger.peers import ask
    from kanref.ledger.report import record, report

    rows = {row.number: row for row in ledger.rows()}
    numbers = [number.upper() for number in options.numbers] or list(rows)
    if unknown := [number for number in numbers if number not in rows]:
        raise ValueError(f"there is no row {', '.join(unknown)}; the rows are {', '.join(rows)}")
    if options.record:
        record(options.record, {})  # what cannot be written is better said now than after minutes
    with _counter() as say:
        answers = ask(options.peers, numbers, say)
    told = report([row for number, row in rows.items() if number in numbers], answers)
    if options.record:
        record(options.record, answers)
    print(told.json() if options.json else told.table(full=bool(options.numbers)))
    return 0 if told.passed else 1


def _compare(options):
    from kanref.compare import compare, opened
    from kanref.model import Model
    from kanref.tables import read_csv

    sys.path.insert(0, os.getcwd())  # adapters are looked for here, too
    names = options.a, options.b
    with redirect_stdout(sys.stderr):  # what an implementation prints is no part of the report
        A, B = map(opened, names)
        if not isinstance(A, Model):
            raise ValueError(f"A must be a model's file, which an implementation is asked for, but {names[0]} is none")
        X = None if options.data is None else read_csv(options.data)
        found = compare(A, B, X, options.tolerance, options.seed, names)
    print(found.json() if options.json else found.table())
    return 0 if found.equal else 1


def _bench(options):
    from kanref import bench

    return bench.main(options.peers, options.cases, options.json, options.quick)


def _printer(options):
    return (lambda text: None) if options.quiet else lambda text: print(text, flush=True)


@contextmanager
def _counter():
    """progress(done, total) on one line of stderr, which is blank again afterwards; None if nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield lambda done, total: print(f"\r{done} of {total} ", end="", file=sys.stderr, flush=True)
    finally:
        print("\r" + " " * 30 + "\r", end="", file=sys.stderr, flush=True)


@contextmanager
def _results_folder(options):
    """The folder, made before the work so that a bad place is found out before the work; removed again if empty."""
    folder = Path(options.out)
    if folder.is_dir() and any(folder.iterdir()) and not options.overwrite:
        raise FileExistsError(f"the folder {folder} is not empty; choose another with --out, or add --overwrite")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, but a folder for the results is needed; choose another with --out")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        with suppress(OSError):  # of a folder that holds something
            folder.rmdir()


# -------------------------------------------------------------------------------------------------------- demo data

NOISE = 0.5


def throws(rows=1200):
    """Names and columns of a table of throws: speed (m/s), angle (degrees), height of the hand (m), kind of ball, hour
    of the day (which does not matter), and the range (m).

    R_0 = v cos a/g (v sin a + sqrt(v^2 sin^2 a + 2 g h)) without air, R = R_0/(1 + R_0/L) with a length L for each kind
    of ball to stand for the air, and a measuring error of standard deviation `NOISE`. Some heights are missing. Always
    the same.
    """
    import numpy as np

    rng = np.random.default_rng(1)
    v, a, h = rng.uniform(5, 30, rows), rng.uniform(10, 80, rows), rng.uniform(0.5, 2.5, rows)
    ball, hour = rng.integers(0, 3, rows), rng.uniform(8, 18, rows)
    across, up, g = v * np.cos(np.radians(a)), v * np.sin(np.radians(a)), 9.81
    vacuum = across / g * (up + np.sqrt(up**2 + 2 * g * h))
    distance = vacuum / (1 + vacuum / np.array([400.0, 150.0, 60.0])[ball]) + rng.normal(0, NOISE, rows)
    height = [f"{value:.2f}" for value in h]
    for row in rng.choice(rows, rows // 50, replace=False):
        height[row] = ""
    kind = np.array(["golf", "tennis", "foam"])[ball]
    columns = [v.round(2), a.round(1), height, kind, hour.round(1), distance.round(2)]
    return ["speed", "angle", "height", "ball", "hour", "range"], columns


def hello(rows=2000):
    """Names and columns of a table of y = exp(sin(pi x1) + x2^2) on [-1, 1]^2, the paper's first example. Always the same."""
    from kanref.data.toys import SCALING

    X, y = SCALING["staircase"].sample(rows)
    return ["x1", "x2", "y"], [*X.T, y]


if __name__ == "__main__":
    sys.exit(main())
