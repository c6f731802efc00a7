"""The command line's arguments, a module each command; the work is done in the module of that name in `_commands`.

Kept apart, so that `oxembed --help` and a mistyped option do not wait for numpy.
"""

from oxembed._arguments import (
    bench,
    calibrate,
    doctor,
    download,
    embed,
    export,
    info,
    inspect,
    models,
    quantize,
    search,
    serve,
    verify,
)

COMMANDS = (embed, search, info, doctor, models, download, inspect, verify, calibrate, export, quantize, bench, serve)

__all__ = ["COMMANDS"]
