set(IDF_TARGET esp32c3)
set(SDKCONFIG_DEFAULTS boards/sdkconfig.base boards/sdkconfig.riscv boards/sdkconfig.c3)
include(${MICROPY_BOARD_DIR}/../common.cmake)
