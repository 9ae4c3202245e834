"""The prompt of `polymeter sql` and the picture of `polymeter top` on a real pseudo-terminal."""

import os
import pathlib
import pty
import re
import select
import signal
import time

from harness import BIN, Polymeter, check, folder, polymeter
from postgres import prepare


class Terminal:
    """A program on a terminal of 160 columns."""

    def __init__(self, words, env):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, {**os.environ, "TERM": "xterm", "COLUMNS": "160", **env})

    def read_until(self, pattern, seconds=30):
        """What came since the last call, up to a pattern; None if it does not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, self.seen, re.S)
            if found:
                part, self.seen = self.seen[: found.end()], self.seen[found.end():]
                return part
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    return None
        return None

    def write(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        """True if it ends by itself."""
        for _ in range(100):
            done, code = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(code) == 0
            time.sleep(0.1)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return False


with folder() as work:
    polymeter("import", "bedrock", prepare(work), "--data", work / "data")
    state = work / "state"
    env = {"XDG_STATE_HOME": str(state)}
    shell = Terminal([BIN, "sql", "--data", str(work / "data")], env)
    check("a prompt comes", shell.read_until(r"polymeter> ", 60) is not None, shell.seen[-300:])
    shell.write("SELECT count(*) AS n\r")
    shell.write("FROM calls;\r")
    check("a statement goes on to its semicolon", "20" in (shell.read_until(r"1 row\(s\)") or ""), shell.seen[-300:])
    shell.read_until(r"polymeter> ")
    shell.write("\\d calls\r")
    described = shell.read_until(r"row\(s\)") or ""
    check("\\d shows columns", "cost_status" in described and "is_nullable" in described, described[-300:])
    shell.read_until(r"polymeter> ")
    shell.write("SELECT sum(cache_re\t) AS x FROM calls;\r")
    check("Tab completes a column", "cache_read_tokens" in (shell.read_until(r"row\(s\)|error:.*\n") or ""), shell.seen[-300:])
    shell.read_until(r"polymeter> ")
    shell.write("SELECT nothing FROM calls;\r")
    check("a mistake is told and the prompt comes back", shell.read_until(r"error: .*polymeter> ") is not None, shell.seen[-300:])
    shell.write("\\n overview from=2026-09-01\r")
    check("a named query runs", "calls_in_conflict" in (shell.read_until(r"row\(s\)") or ""), shell.seen[-300:])
    shell.read_until(r"polymeter> ")
    shell.write("SELECT count(*) FROM range(2000000) a JOIN range(2000000) b ON a.value + b.value < 0;\r")
    time.sleep(1)
    shell.write("\x03")
    check("Ctrl-C ends a statement", shell.read_until(r"cancelled.*polymeter> ", 20) is not None, shell.seen[-300:])
    shell.write("\\q\r")
    check("\\q leaves", shell.close())
    history = (state / "polymeter/sql-history").read_text() if (state / "polymeter/sql-history").exists() else ""
    check("the history is kept", "count(*)" in history, history[:200])

    with Polymeter(work / "data", work) as server:
        top = Terminal([BIN, "top", "--url", f"http://{server.http}", "--minutes", "1440"], env)
        picture = top.read_until(r"CALLS/MIN.*\n", 30)
        check("top draws", picture is not None and "\x1b[2J" in picture, top.seen[-300:])
        check("and again", top.read_until(r"\x1b\[2J.*CALLS/MIN", 15) is not None)
        top.write("\x03")
        check("Ctrl-C ends it", top.close())
    check("no history in the home folder", not pathlib.Path(work / ".local").exists())
