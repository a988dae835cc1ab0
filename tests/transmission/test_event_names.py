"""Codes of events and alarms have the names that the guides and ANSI C12.19 give them."""

from gateway.transmission.event_names import alarm_name, event_name, is_manufacturers


def test_standard_events():
    assert event_name(1) == "Primary power down"
    assert event_name(20) == "Demand reset"
    assert event_name(48) == "Reverse rotation"
    assert event_name(49) == event_name(2049) == ""
    assert is_manufacturers(2049) and not is_manufacturers(48)


def test_alarms_by_byte_and_bit():
    assert alarm_name(8 * 2 + 0) == "Low battery"
    assert alarm_name(8 * 3 + 2) == "Load profile data set 4 has unread entries"
    assert alarm_name(8 * 7 + 1) == "Magnetic tamper detected"
    assert alarm_name(8 * 9 + 0) == "Control relay (2) open"
    assert alarm_name(8 * 9 + 1) == ""


def test_alarms_of_devices():
    assert alarm_name(256 + 4) == "Device 1: Communication failed on read"
    assert alarm_name(512 + 24) == "Device 2: Device lost"
    assert alarm_name(512 + 30) == ""
