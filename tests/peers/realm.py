"""The tests' own connection to the realm, for plain blocking code: call, publish, collect events.

Twisted runs in a thread of its own, as long as the tests run.
"""

import threading
from collections.abc import Callable
from typing import Any

from common import component  # first: it chooses Twisted

from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from processes import wait_until


def start_reactor() -> None:
    if not reactor.running:
        running = threading.Event()
        reactor.callWhenRunning(running.set)
        threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True).start()
        assert running.wait(10), "the reactor does not start"


def in_reactor(work: Callable[[], Any]) -> Any:
    """Do something on Twisted's thread, and wait for what comes of it."""
    return blockingCallFromThread(reactor, work)


class Realm:
    """A session: an anonymous one, or as somebody of keys.json."""

    def __init__(
        self, url: str, serializer: str = "cbor", who: str | None = None, method: str = "cryptosign"
    ) -> None:
        start_reactor()
        peer = component(url, who, serializer, method=method)
        self.session: Any = blockingCallFromThread(reactor, self._join, url, peer)

    @staticmethod
    def _join(url: str, peer: Any) -> Deferred:
        joined: Deferred = Deferred()

        @peer.on_join
        def on_join(session: Any, _details: Any) -> None:
            joined.callback(session)

        def ended(result: Any) -> None:
            if not joined.called:
                joined.errback(ConnectionError(f"cannot join the realm at {url}: {result}"))

        peer.start(reactor).addBoth(ended)
        return joined.addTimeout(20, reactor)

    def call(
        self, procedure: str, *args: Any, timeout: float = 30, on_progress: Any = None, **kwargs: Any
    ) -> Any:
        """Call a procedure; an ERROR raises autobahn's ApplicationError."""

        def call() -> Deferred:
            # The router is told the time-out as well, but only this side's is sure to end the call.
            options = CallOptions(timeout=int(timeout * 1000), on_progress=on_progress)
            return self.session.call(procedure, *args, options=options, **kwargs).addTimeout(timeout, reactor)

        return blockingCallFromThread(reactor, call)

    def publish(self, topic: str, *args: Any, **kwargs: Any) -> None:
        options = PublishOptions(acknowledge=True)
        blockingCallFromThread(reactor, lambda: self.session.publish(topic, *args, options=options, **kwargs))

    def register(self, procedure: str, endpoint: Any, **options: Any) -> None:
        """Serve a procedure; the endpoint runs in Twisted's thread."""
        options = RegisterOptions(**options)
        blockingCallFromThread(reactor, lambda: self.session.register(endpoint, procedure, options=options))

    def collect(self, topic: str) -> "Events":
        """Subscribe to the topic and everything below it."""
        return Events(self, topic)

    def leave(self) -> None:
        """Leave, and wait until the router has said goodbye."""
        if self.session.is_attached():
            reactor.callFromThread(self.session.leave)
            wait_until("the session is over", lambda: not self.session.is_attached())


class Events(list):
    """The positional arguments of every event so far."""

    def __init__(self, realm: Realm, topic: str) -> None:
        super().__init__()
        self.realm = realm
        options = SubscribeOptions(match="prefix")
        self.subscription = blockingCallFromThread(
            reactor, lambda: realm.session.subscribe(lambda *args: self.append(args), topic, options=options)
        )

    def wait(self, count: int, timeout: float = 30) -> list[tuple]:
        """Wait until there are so many events, and return all."""
        wait_until(f"{count} events (there are {len(self)})", lambda: len(self) >= count, timeout)
        return list(self)

    def end(self) -> None:
        """Unsubscribe."""
        if self.realm.session.is_attached():
            blockingCallFromThread(reactor, self.subscription.unsubscribe)
