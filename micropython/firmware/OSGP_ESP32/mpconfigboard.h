#define MICROPY_HW_BOARD_NAME               "OSGP gateway"
#define MICROPY_HW_MCU_NAME                 "ESP32"
#include "../common.h"
