"""``underdog bench``: how fast this machine is at what underdog does, and what underdog adds to it."""

from __future__ import annotations

import torch

from underdog.bench.report import BenchReport, measurements
from underdog.bench.setting import BenchSetting, environment, sizes_for
from underdog.cli.common import Options, device, say, writable
from underdog.cli.progress import bar
from underdog.run.files import write_json
from underdog.validate import check_positive

__all__ = ["run"]


def run(options: Options) -> None:
    """Carry out the command."""
    check_positive("pairs", options.pairs, whole=True)
    check_positive("threads", options.threads, whole=True)
    if options.json:
        writable(options.json)
    on = torch.device(device(options.device))
    torch.set_num_threads(options.threads)
    environment(str(on))  # whose load is that before all of this
    setting = BenchSetting(on, options.threads, options.pairs, sizes_for(on))
    figures, work = [], measurements(setting)
    with bar("measuring", len(work), "") as shown:
        for name, measure in work:
            shown.set_description(name)
            figures += list(measure())
            shown.update()
    report = BenchReport.of(setting, figures)
    say(report.markdown())
    if options.json:
        write_json(options.json, report.to_json())
