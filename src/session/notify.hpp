// NOTIFY that only says that it is worth a look, and never fails the transaction that it tells of.
//
// Every role hears every channel, so a notification carries no payload: a role that may know the news reads it from the
// tables. Any role that listens in a transaction and does not end it can fill the server's queue of notifications. Then
// a commit that notifies fails. So the queue is checked as the transaction commits, and while it is nearly full a
// notification is left out, logged and counted.
//
// Called by src/functions and src/queue in any transaction. Regime: pg.
#pragma once

namespace steadytext::session {

enum class Channel { Queue, Async, QueueNotify, QueueDone, Incident };

// Notifies once for the transaction, however often it is called. A call in a subtransaction that rolls back counts all
// the same.
void notify(Channel channel);

}  // namespace steadytext::session
