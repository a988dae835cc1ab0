#define MICROPY_HW_BOARD_NAME               "OSGP gateway"
#define MICROPY_HW_MCU_NAME                 "ESP32-C3"
#define MICROPY_HW_ENABLE_UART_REPL         (1)
#include "../common.h"
