"""Programs that want a pass that they did not earn, or harm whoever comes next. Each defines `f` wrongly.

They attack a task with the asserts `f(2) == 4` and `f(3) == 6`; none of them may pass.
"""

from __future__ import annotations

EQUAL_TO_ALL = {
    "object": """
class A:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
def f(x): return A()
""",
    "int": """
class A(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def f(x): return A(7)
""",
    "str": """
class A(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def f(x): return A()
""",
    "list": """
class A(list):
    def __eq__(self, other): return True
def f(x): return A()
""",
    "reflected": """
class A(float):
    def __eq__(self, other): return True
    def __req__(self, other): return True
    __hash__ = float.__hash__
    def __float__(self): return 4.0
def f(x): return A('nan')
""",
    "metaclass": """
class M(type):
    def __eq__(cls, other): return True
    def __instancecheck__(cls, other): return True
    __hash__ = type.__hash__
class A(metaclass=M): pass
def f(x): return A
""",
    "mock": "from unittest.mock import ANY\ndef f(x): return ANY",
    "nan": "def f(x): return float('nan')",
}

ESCAPES = {
    "frame walk": """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for name in list(frame.f_locals):
            value = frame.f_locals[name]
            if isinstance(value, dict): value.update(passed=True, result='passed', failure=None)
            if isinstance(value, list): value.append('passed')
        for name in ('passed', 'result', 'ok', 'failure'): frame.f_globals[name] = True
        frame = frame.f_back
    return None
""",
    "garbage collector hunt": """
import gc
def f(x):
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            for key in ('passed', 'tests_passed', 'expected'):
                if key in thing: thing[key] = 4
        if isinstance(thing, str) and 'assert' in thing and ' == ' in thing:
            return eval(thing.split('==')[1])
    return None
""",
    "patched builtins": """
import builtins
builtins.all = builtins.any = builtins.isinstance = builtins.callable = lambda *a, **k: True
builtins.abs = builtins.len = builtins.sum = lambda *a, **k: 4
builtins.AssertionError = type('AssertionError', (BaseException,), {})
def f(x): return 5
""",
    "patched json": """
import json, sys
json.JSONEncoder.encode = lambda *a, **k: '[1,"v",4]'
json.dumps = lambda *a, **k: '[1,"v",4]'
json.loads = lambda *a, **k: [1, 'v', 4]
for name, module in list(sys.modules.items()):
    if name.endswith('.codec'): module._write = lambda *a: '[1,"v",4]'
def f(x): return 5
""",
    "patched operator and math": """
import operator, math, sys
for module in (operator, math):
    for name in dir(module):
        try: setattr(module, name, lambda *a, **k: True)
        except (AttributeError, TypeError): pass
sys.modules['math'] = sys.modules['unittest'] = None
def f(x): return 5
""",
    "own helpers": "def check(*a): pass\nisclose = check\n__rlcode_ledger__ = None\ndef f(x): return 5",
    "exit 0": "import os\nos._exit(0)",
    "exit in call": "import os\ndef f(x): os._exit(0)",
    "sys.exit": "import sys\ndef f(x): sys.exit(0)",
    "system exit object": "def f(x): raise SystemExit(4)",
    "exit hook": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): raise SystemExit",
    "finalizer": """
import os
class A:
    def __del__(self): os._exit(0)
def f(x): return A()
""",
    "exception that passes for another": """
class AssertionError(Exception):
    def __str__(self): raise SystemExit
def f(x): raise AssertionError
""",
    "exception with a hostile class": """
class M(type):
    def mro(cls): return [cls, *super().mro()]
class E(Exception, metaclass=M):
    def __getattribute__(self, name): raise SystemExit
def f(x): raise E
""",
    "prints a verdict": """
def f(x):
    print('{"id":1,"verdict":{"error_type":null,"tests_passed":2,"tests_total":2},"anomaly":null}', flush=True)
    import os
    os.write(1, b'\\0\\0\\0\\x10' + b'{"id":1,"ok":1}\\n')
    return 5
""",
    "reads what it can": """
import glob, os
def f(x):
    for path in ('/proc/1/environ', '/proc/1/mem', '/proc/1/maps', f'/proc/{os.getppid()}/mem', '/proc/1/fd/0',
                 '/proc/1/root/etc/shadow', '/proc/self/mem', '/etc/shadow', '/root', '/home'):
        try:
            text = str(open(path, 'rb').read()) if not os.path.isdir(path) else str(os.listdir(path))
            if 'assert' in text or 'expected' in text: return eval(text.split('==')[1])
        except (OSError, ValueError, SyntaxError, IndexError, NameError): pass
    return None
""",
    "writes into the judge": """
import os
def f(x):
    for pid in [1, os.getppid(), *range(2, 40)]:
        for name in ('mem', 'fd/0', 'fd/1', 'oom_score_adj', 'comm'):
            try:
                with open(f'/proc/{pid}/{name}', 'r+b', buffering=0) as file: file.write(b'0')
            except OSError: pass
    return 5
""",
    "other descriptors": """
import os
def f(x):
    for fd in range(4, 256):
        try: os.write(fd, b'[1,"v",4]')
        except OSError: pass
    return 5
""",
}

FORGERIES = {
    "answer before the question": """
import os, struct
body = b'[1,"v",4]'
os.write(3, struct.pack('>I', len(body)) + body)
def f(x): return 5
""",
    "all answers before the questions": """
import os, struct
for n in range(9):
    body = b'[%d,"v",4]' % n
    os.write(3, struct.pack('>I', len(body)) + body)
def f(x): return 5
""",
    "answer of a thread": """
import os, struct, threading
def g():
    for n in range(5000):
        body = b'[%d,"v",{"h":[0,"x"]}]' % (n % 3)
        os.write(3, struct.pack('>I', len(body)) + body)
threading.Thread(target=g, daemon=True).start()
def f(x): return 5
""",
    "endless frame": """
import os
def f(x):
    os.write(3, b'\\xff\\xff\\xff\\xff')
    while True: os.write(3, b'[' * 65536)
""",
    "deep frame": """
import os, struct
def f(x):
    body = b'[' * 1000000 + b']' * 1000000
    rest = struct.pack('>I', len(body)) + body
    while rest: rest = rest[os.write(3, rest):]
    while True: pass
""",
    "long number": """
import os, struct
def f(x):
    body = b'[1,"v",' + b'9' * 4000000 + b']'
    rest = struct.pack('>I', len(body)) + body
    while rest: rest = rest[os.write(3, rest):]
""",
    "unknown tag": 'import os\ndef f(x): os.write(3, b\'\\0\\0\\0\\x13[1,"v",{"eval":"4"}]\')',
    "handle for everything": """
import sys
for name, module in list(sys.modules.items()):
    if name.endswith('.candidate'): module._Objects.export = lambda self, value: [10**30, 'int']
def f(x): return object()
""",
    "hidden state of the link": """
import gc
def f(x):
    for thing in gc.get_objects():
        if type(thing).__name__ == 'Link': thing.send([1, 'v', 4]); thing.send([2, 'v', 6]); thing.send([3, 'passed'])
    return 5
""",
    "passes descriptors": """
import socket, os
def f(x):
    s = socket.socket(fileno=3)
    for _ in range(50): socket.send_fds(s, [b'x'], [0, 1, 2])
    return 5
""",
}

BURDENS = {
    "huge int": "def f(x): return 10 ** 5000000",
    "many ints with one hash": "def f(x): return {k * (2 ** 61 - 1) for k in range(3000)}",
    "huge decimal": "from decimal import Decimal\ndef f(x): return Decimal('1e999999999')",
    "huge fraction": "from fractions import Fraction\ndef f(x): return Fraction(10 ** 9000, 3)",
    "huge range": "def f(x): return range(10 ** 18)",
    "huge text": "def f(x): return 'x' * 200000000",
    "deep nesting": "def f(x):\n    r = []\n    for _ in range(100000): r = [r]\n    return r",
    "cycle": "def f(x):\n    r = []\n    r.append(r)\n    return r",
    "shared tree": "def f(x):\n    r = []\n    for _ in range(60): r = [r, r]\n    return r",
    "liar about its length": """
class A(list):
    def __len__(self): return 10 ** 9
    def __iter__(self):
        while True: yield 0
def f(x): return A([1])
""",
    "endless iterator": """
class A:
    def __iter__(self): return self
    def __next__(self): return 0
def f(x): return A()
""",
    "array": "import array\ndef f(x): return array.array('i', [4])",
    "memory": "def f(x):\n    a = []\n    while True: a.append(bytearray(1 << 20))",
    "memory in children": """
import os
def f(x):
    for _ in range(8):
        if os.fork() == 0:
            a = []
            while True: a.append(bytearray(1 << 20))
    while True: pass
""",
    "mapped memory": """
import mmap
def f(x):
    maps = []
    while True:
        m = mmap.mmap(-1, 1 << 20)
        m.write(b'x' * (1 << 20))
        maps.append(m)
""",
    "files": """
def f(x):
    n = 0
    while True:
        with open(f'file{n}', 'w') as file: file.write('x' * 60000)
        n += 1
""",
    "folders": "import os\ndef f(x):\n    while True:\n        os.mkdir('d'); os.chdir('d')",
    "output": "import os\ndef f(x):\n    while True: os.write(1, b'x' * 65536)",
    "output after the limit's signal": """
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def f(x):
    while True:
        try: os.write(2, b'x' * 65536)
        except OSError: return 5
""",
    "sparse output": "import os\ndef f(x):\n    os.ftruncate(1, 1 << 40)\n    return 5",
    "descriptors": "def f(x):\n    files = []\n    while True: files.append(open('/dev/null'))",
}

SURVIVORS = {
    "fork bomb": "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass",
    "fork bomb in sessions": """
import os
def f(x):
    while True:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: pass
""",
    "thread bomb": """
import threading, time
def f(x):
    while True: threading.Thread(target=time.sleep, args=(100,)).start()
""",
    "daemon": """
import os, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                try: open('alive', 'a').write('x')
                except OSError: pass
                time.sleep(0.01)
        os._exit(0)
    return 5
""",
    "daemon that answers": """
import os, struct, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        while True:
            for n in (1, 2):
                body = b'[%d,"v",4]' % n
                os.write(3, struct.pack('>I', len(body)) + body)
            time.sleep(0.001)
    os._exit(0)
""",
    "ignores signals": """
import signal, os, time
def f(x):
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    if os.fork() == 0:
        while True: time.sleep(1)
    return 5
""",
    "kills all": "import os, signal\ndef f(x):\n    os.kill(-1, signal.SIGKILL)\n    return 5",
    "kills its parent": """
import os, signal
def f(x):
    for pid in (1, os.getppid(), *range(2, 200)):
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            try:
                if pid != os.getpid(): os.kill(pid, number)
            except OSError: pass
    return 5
""",
    "stops itself": "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "leftover files": """
import os
for folder in ('.', '/w', '/tmp', '/var/tmp', '/dev/shm', '/dev', '/run', '/usr/lib', '/'):
    try: open(os.path.join(folder, 'left'), 'w').write('4')
    except OSError: pass
os.makedirs('a/b/c', exist_ok=True)
os.chmod('a/b', 0)
os.chmod('.', 0o700) if os.stat('.').st_uid == os.getuid() else None
def f(x): return 5
""",
    "leftover links": """
import os
os.symlink('/', 'root'); os.symlink('.', 'self'); os.mkfifo('pipe'); os.mkdir('d'); os.symlink('../d', 'd/up')
os.mkdir('locked'); open('locked/x', 'w').close(); os.chmod('locked', 0)
def f(x): return 5
""",
    "deep folders": "import os\nfor _ in range(300):\n    os.mkdir('d'); os.chdir('d')\ndef f(x): return 5",
    "shared memory": """
import ctypes
libc = ctypes.CDLL(None)
libc.shmget(1234, 4096, 0o1666); libc.msgget(1234, 0o1666); libc.semget(1234, 1, 0o1666)
def f(x): return 5
""",
    "sockets": """
import socket
made = []
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            s = socket.socket(family, kind)
            s.connect(('8.8.8.8', 53))
            made.append(s)
        except (OSError, TypeError): pass
def f(x): return 4 if made else 5
""",
    "lower priority of others": """
import os, resource
def f(x):
    for act in (lambda: os.setpriority(os.PRIO_USER, 0, 19), lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
                lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))):
        try: act()
        except OSError: pass
    return 5
""",
}

KERNEL = {
    name: f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef f(x):\n    {code}\n    return 5"
    for name, code in {
        "ptrace": "libc.ptrace(16, 1, 0, 0)",
        "process_vm_readv": "libc.syscall(310, 1, 0, 0, 0, 0, 0)",
        "mount": "libc.mount(b'none', b'/w', b'tmpfs', 0, None)",
        "user namespace": "libc.unshare(0x10000000)",
        "user namespace by clone": "libc.syscall(56, 0x10000011, 0, 0, 0, 0)",
        "setns": "libc.setns(3, 0)",
        "keyring": "libc.syscall(250, 0, -3, 1)",
        "bpf": "libc.syscall(321, 0, 0, 0)",
        "perf": "libc.syscall(298, 0, 0, -1, -1, 0)",
        "userfaultfd": "libc.syscall(323, 0)",
        "io_uring": "libc.syscall(425, 8, 0)",
        "clone3": "libc.syscall(435, 0, 0)",
        "other call table": "libc.syscall(0x40000000 | 101, 0, 0, 0, 0)",
        "become root": "[libc.setresuid(0, 0, 0), libc.setresgid(0, 0, 0), libc.setgroups(0, 0)]",
        "dumpable": "[libc.prctl(4, 1), libc.prctl(36, 1), libc.prctl(8, 1), libc.prctl(1, 0)]",
        "personality": "libc.personality(0x0400000)",
        "chroot": "libc.chroot(b'/w')",
        "raise limits": "[libc.setrlimit(r, (ctypes.c_ulong * 2)(2 ** 40, 2 ** 40)) for r in range(16)]",
    }.items()
}

FAMILIES = {
    "equal to all": EQUAL_TO_ALL,
    "escapes": ESCAPES,
    "forgeries": FORGERIES,
    "burdens": BURDENS,
    "survivors": SURVIVORS,
    "kernel": KERNEL,
}
