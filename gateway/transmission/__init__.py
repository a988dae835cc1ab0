"""What travels: readings as objects, compact frames, the platform's JSON, topics, custody."""

# Those who know only transmission (the cloud) have its errors from here.
from ..errors import FrameError as FrameError
from ..errors import OutboxError as OutboxError
