# What both boards have: the partitions beside this file, and no Bluetooth, whose memory Wi-Fi and TLS need.
file(WRITE ${CMAKE_BINARY_DIR}/sdkconfig.osgp
    "CONFIG_PARTITION_TABLE_CUSTOM=y\n"
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${CMAKE_CURRENT_LIST_DIR}/partitions.csv\"\n")
list(APPEND SDKCONFIG_DEFAULTS ${CMAKE_BINARY_DIR}/sdkconfig.osgp)
