// The application's image is executed from the partition "romfs", which is mounted as /rom.
#define MICROPY_VFS_ROM                     (1)
#define MICROPY_PY_BLUETOOTH                (0)
