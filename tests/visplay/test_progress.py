"""What the display says."""

import io
import threading

from rich.console import Console

from rollouts.servers import fleet
from visplay.progress import Display


def test_what_servers_log_is_said_while_a_run_goes_on() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200))
    fleet._log.warning("before")
    with display.telling("rollouts"):
        logged = threading.Thread(target=fleet._log.warning, args=("%s does not answer", "http://a"))
        logged.start()
        logged.join()
        fleet._log.info("details")
    fleet._log.warning("after")
    assert out.getvalue() == "http://a does not answer\n"
