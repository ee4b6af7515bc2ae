"""The suite's command, for the Python 2.7 that `setup` unpacks, as far as this project needs it.

No case and no verdict is changed. Two changes are made around them:

- TLS is left out, so pyOpenSSL, which would have to be compiled, is not needed.
- A case sets timers that end the case if the server hangs, after up to eight minutes. The suite
  leaves the timers set when the case is over, and with them the bytes sent and received: gigabytes
  in groups 12 and 13. Here the timers are cancelled between two cases, and the garbage of a case is
  collected before the next case, which halves the rest.
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
    """The reactor for the fuzzing client, which remembers every delayed call."""

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
    """The suite's client, which runs the cases in turn, but keeps nothing of a case after its end."""

    def clientConnectionLost(self, connector, reason):
        fuzzing.reactor.cancel()
        gc.collect()
        # The suite's classes are old-style classes, which have no super().
        fuzzing.FuzzingClientFactory.clientConnectionLost(self, connector, reason)


fuzzing.reactor = Timers(fuzzing.reactor)

if __name__ == "__main__":
    fuzzing.startClient = lambda spec, debug=False: bool(Client(spec, debug))
    sys.exit(wstest.run())
