"""Runs an application on MicroPython's unix port from ROMFS images that lie outside the heap.

    python tools/run_from_rom.py IMAGE[,IMAGE...] MODULE [-X heapsize=224K] [ARGUMENTS of MODULE.main]

The images are mapped into the process and MicroPython executes them there, as a board executes the image in
its flash: the first at /rom, as the firmware does, others at /romx, /romxx. `-X` options go to the
interpreter.
"""

import ctypes
import mmap
import os
import sys

from micropython_unix import run_main

# At most 255 bytes, which is all that MicroPython takes as one argument.
_BOOT = (
    "import os,sys,uctypes as u,vfs\n"
    "m,*r=os.getenv('OSGP_ROM').split()\n"
    "p='/rom'\n"
    "while r:\n"
    " a,n,*r=r\n"
    " vfs.mount(vfs.VfsRom(u.bytearray_at(int(a),int(n))),p)\n"
    " sys.path.append(p)\n"
    " p+='x'\n"
    "sys.exit(__import__(m).main(sys.argv[1:]))"
)


def main() -> int:
    image, module, *rest = sys.argv[1:]
    options: list[str] = []
    while rest[:1] == ["-X"]:
        options += rest[:2]
        rest = rest[2:]
    places = [module]
    kept = []
    for name in image.split(","):
        with open(name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # Writable, since only then ctypes tells its address; private, so the file stays as it is.
            kept.append(mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE))
        places += [str(ctypes.addressof(ctypes.c_char.from_buffer(kept[-1]))), str(size)]
    os.environ["OSGP_ROM"] = " ".join(places)
    return int(run_main(["micropython", *options, "-c", _BOOT, *rest]))


if __name__ == "__main__":
    sys.exit(main())
