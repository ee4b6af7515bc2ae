"""The suite's command, for the Python 2.7 that `setup` unpacks; all of it that this project needs.

No case and no verdict is changed. Two things around them are:

- Nothing here speaks TLS, so that pyOpenSSL, which would have to be compiled, need not be there.
- A case sets timers that end it should the server hang, after up to eight minutes. The suite leaves
  them set when the case is over, and all that it sent and received with them: gigabytes in groups
  12 and 13. They are cancelled between two cases, and the garbage of one is collected before the
  next, which halves what is left.
"""

import gc
import os
import site
import sys
import types

site.addsitedir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "site"))

from twisted import internet

tls = types.ModuleType("twisted.internet.ssl")
tls.ClientContextFactory = lambda: None
internet.ssl = sys.modules[tls.__name__] = tls

from autobahntestsuite import fuzzing, wstest


class Timers(object):
    """The reactor as the fuzzing client sees it, which remembers what it was asked to do later."""

    def __init__(self, reactor):
        self._reactor = reactor
        self._calls = []

    def __getattr__(self, name):
        return getattr(self._reactor, name)

    def callLater(self, *args, **kwargs):
        call = self._reactor.callLater(*args, **kwargs)
        self._calls.append(call)
        return call

    def cancel(self):
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls = []


class Client(fuzzing.FuzzingClientFactory):
    """The suite's, which runs one case after the other, but has nothing left of one at the next."""

    def clientConnectionLost(self, connector, reason):
        fuzzing.reactor.cancel()
        gc.collect()
        # The suite's classes are of the old kind: there is no super().
        fuzzing.FuzzingClientFactory.clientConnectionLost(self, connector, reason)


fuzzing.reactor = Timers(fuzzing.reactor)

if __name__ == "__main__":
    fuzzing.startClient = lambda spec, debug=False: bool(Client(spec, debug))
    sys.exit(wstest.run())
