"""One job after the other."""

import threading

queue_lock = threading.Lock()
