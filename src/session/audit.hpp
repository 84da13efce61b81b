// Suspicious input: a line in the server log for each kind, role and minute, and rows of steadytext_audit_log. Also
// actions on the whole server.
//
// Called by src/session and src/functions with each argument from outside, before the argument is checked: so the row
// is there whether or not the call is refused. Regime: pg; raises nothing of its own. A prompt appears by hash and
// length only. The row goes through shared memory (shmem/audit_ring.hpp) to the keeper.
#pragma once

#include "src/core/rules.hpp"
#include "src/core/injection_patterns.hpp"

namespace steadytext::session {

// `parameter` as it is called in SQL.
void inspect_prompt(const char *parameter, const core::TextArgument &text);
void inspect_name(const char *parameter, const core::TextArgument &name, std::size_t longest);

// For an argument that its own check found suspicious. Its text is shown, like the text of a name.
void note_suspicious(core::Suspicion suspicion, const char *parameter, std::string_view text);

// Records that the caller did something to the whole server: a line in the server log and a row (event_type
// 'server_action') with the function and its argument, whatever becomes of the transaction.
void note_server_action(const char *function, std::string_view argument);

// The client's address as inet reads it; empty for a Unix socket, and in parallel workers, which have no client.
void write_client_address(char *address, std::size_t room);

// For pg::bad_encoding_seen.
void note_bad_encoding(std::string_view text);

}  // namespace steadytext::session
