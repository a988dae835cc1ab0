"""Runs an application on MicroPython's unix port from a ROMFS image that lies outside the heap.

    python tools/run_from_rom.py IMAGE MODULE [-X heapsize=224K] [ARGUMENTS of MODULE.main]

The image is mapped into the process and MicroPython executes it there, as a board executes the image in
its flash. `-X` options go to the interpreter.
"""

import ctypes
import mmap
import os
import sys

from micropython_unix import run_main

# At most 255 bytes, which is all that MicroPython takes as one argument.
_BOOT = (
    "import os,sys,uctypes as u,vfs\n"
    "a,n,m=os.getenv('OSGP_ROM').split()\n"
    "vfs.mount(vfs.VfsRom(u.bytearray_at(int(a),int(n))),'/rom')\n"
    "sys.path.insert(0,'/rom')\n"
    "sys.exit(__import__(m).main(sys.argv[1:]))"
)


def main() -> int:
    image, module, *rest = sys.argv[1:]
    options: list[str] = []
    while rest[:1] == ["-X"]:
        options += rest[:2]
        rest = rest[2:]
    with open(image, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        # Writable, since only then ctypes tells its address; private, so the file stays as it is.
        mapped = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    os.environ["OSGP_ROM"] = f"{address} {size} {module}"
    return int(run_main(["micropython", *options, "-c", _BOOT, *rest]))


if __name__ == "__main__":
    sys.exit(main())
