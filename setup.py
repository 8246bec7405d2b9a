"""What is compiled. Everything else is in pyproject.toml.

`optional`: without a compiler the package installs and works as well, only slower.
"""

import sys
import sysconfig

from setuptools import Extension, setup

stable = not sysconfig.get_config_var("Py_GIL_DISABLED")
sockets = Extension(
    "cardume.hub._sockets",
    ["src/cardume/hub/_sockets.c"],
    optional=True,
    py_limited_api=stable,
)
setup(
    ext_modules=[] if sys.platform == "win32" else [sockets],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable else {},
)
