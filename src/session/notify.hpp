// NOTIFY that tells nobody anything but that it is worth a look, and never fails what it tells of.
//
// Every role hears every channel, so a notification carries no payload: who may know what happened reads it from the tables. The server's
// queue of notifications can be filled by any role that listens in a transaction and does not end it, and then a commit that notifies
// fails: so the queue is looked at as the transaction commits, and a notification is left out, logged and counted, while it is nearly full.
//
// Called by src/functions and src/queue in any transaction. Regime: pg.
#pragma once

namespace steadytext::session {

enum class Channel { Queue, Async, QueueNotify, QueueDone, Incident };

// Once for the transaction, however often it is called. What a subtransaction told before it rolled back is told all the same.
void notify(Channel channel);

}  // namespace steadytext::session
