"""What is compiled. Everything else is in pyproject.toml.

`optional`: without a compiler the package installs and works as well, only slower. So it does
where there is no `send`, or no stable ABI (free-threaded Python before 3.15).
"""

import sys
import sysconfig

from setuptools import Extension, setup

sockets = Extension(
    "cardume.hub._sockets", ["src/cardume/hub/_sockets.c"], optional=True, py_limited_api=True
)
if sys.platform == "win32" or sysconfig.get_config_var("Py_GIL_DISABLED"):
    setup()
else:
    setup(ext_modules=[sockets], options={"bdist_wheel": {"py_limited_api": "cp311"}})
