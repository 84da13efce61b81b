// One statement for many questions, and what comes back: see node_questions.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "bgworker/node_questions.hpp"
#include "shmem/hub_asks.hpp"
#include "shmem/segment.hpp"
#include "src/core/cache_record.hpp"
#include "src/core/clock.hpp"
#include "src/core/foreign_record.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
}

#include <algorithm>
#include <cstring>
#include <string>

namespace steadytext::worker {

namespace {

using shmem::HubAsks;
using State = HubAsks::State;

constexpr int kMost = 64;
constexpr int kMaxAnswer = 1'100'000;  // of the hub; it gives none that is larger
enum Wish : std::int32_t { Look, Compute, Failed, Kept };
enum Verdict : std::int32_t { NotThere, There, Yours, Others };
enum Column { Place, Judged, Response, Embedding, PromptTokens, CompletionTokens, Reason, ExpiresMs, Columns };

struct Taken {
    std::uint32_t slot;
    Wish wish;
};
Taken taken[kMost];
int taken_count = 0;
StringInfoData scopes, keys, wishes;  // as arrays in the form of the wire
std::uint32_t format;

shmem::PayloadPool &pool() { return *shmem::segment().payloads; }

void begin_array(StringInfo array, Oid type) {
    resetStringInfo(array);
    pq_sendint32(array, 1);
    pq_sendint32(array, 0);
    pq_sendint32(array, type);
    pq_sendint32(array, 0);  // how many: set at the end
    pq_sendint32(array, 1);
}
void add_bytes(StringInfo array, const void *bytes, std::size_t size) {
    pq_sendint32(array, static_cast<std::uint32_t>(size));
    appendBinaryStringInfo(array, static_cast<const char *>(bytes), static_cast<int>(size));
}
void end_array(StringInfo array) {
    const std::uint32_t count = pg_hton32(static_cast<std::uint32_t>(taken_count));
    memcpy(array->data + 12, &count, sizeof count);
}

void tell(std::uint32_t index, State verdict) {
    HubAsks &asks = shmem::hub_asks();
    const std::int32_t proc_number = asks[index].proc_number;
    if (asks.answer(index, verdict, pool()))
        pg::set_latch_of(proc_number);
}

void take(std::uint32_t index, State from, Wish wish, std::uint64_t connection) {
    HubAsks &asks = shmem::hub_asks();
    if (taken_count == kMost || !asks.take(index, MyDatabaseId, from))
        return;
    const HubAsks::Slot &slot = asks[index];
    if (wish != Compute && slot.link != connection)  // the hub has forgotten it with the connection
        return asks.free(index);
    add_bytes(&scopes, slot.scope, slot.scope_bytes);
    add_bytes(&keys, slot.key.bytes, sizeof slot.key.bytes);
    const std::uint32_t number = pg_hton32(static_cast<std::uint32_t>(wish));
    add_bytes(&wishes, &number, sizeof number);
    taken[taken_count++] = {index, wish};
}

std::string_view read_text(const HubConnection &hub, int row, int column) {
    int size;
    const char *bytes = hub.value(row, column, size);
    return bytes == nullptr ? std::string_view() : std::string_view(bytes, static_cast<std::size_t>(size));
}

// As vector_send() writes it: dimensions, nothing, floats. False if it is none.
bool read_vector(std::string_view sent, std::string &vector) {
    std::uint16_t dimensions;
    if (sent.size() < 4)
        return false;
    memcpy(&dimensions, sent.data(), sizeof dimensions);
    dimensions = pg_ntoh16(dimensions);
    sent.remove_prefix(4);
    if (sent.size() != dimensions * sizeof(float))
        return false;
    vector.resize(sent.size());
    for (std::size_t at = 0; at < sent.size(); at += sizeof(float)) {
        std::uint32_t value;
        memcpy(&value, sent.data() + at, sizeof value);
        value = pg_ntoh32(value);
        memcpy(vector.data() + at, &value, sizeof value);
    }
    return true;
}

// Puts the answer of this row into the slot; false if it is of no use, or finds no room.
bool store(const HubConnection &hub, int row, HubAsks::Slot &slot) {
    constexpr std::int64_t kCenturyMs = std::int64_t{100} * 366 * 86'400'000;
    static std::string *vector = new std::string, *bytes = new std::string;
    core::CacheRecord record;
    record.text = read_text(hub, row, Response);
    record.finish_reason = read_text(hub, row, Reason);
    const std::string_view sent = read_text(hub, row, Embedding);
    (void)hub.read(row, PromptTokens, record.numbers.prompt_tokens);
    (void)hub.read(row, CompletionTokens, record.numbers.completion_tokens);
    if (std::int64_t left_ms; hub.read(row, ExpiresMs, left_ms))
        record.numbers.expires_us = core::unix_us() + std::clamp<std::int64_t>(left_ms, 0, kCenturyMs) * 1000;
    if (slot.is_vector == sent.empty() || record.text.size() + sent.size() + record.finish_reason.size() > kMaxAnswer)
        return false;
    core::Problem ignored;
    const bool is_made = pg::try_guarded(ignored, [&](core::Problem &) {
        if (slot.is_vector && !read_vector(sent, *vector))
            return false;
        if (slot.is_vector)
            record.vector = *vector;
        core::encode(record, *bytes);
        return true;
    });
    return is_made && pool().store(*bytes, slot.answer);
}

void settle(const HubConnection &hub, int row, const Taken &of, std::int32_t verdict, std::uint64_t connection) {
    HubAsks::Slot &slot = shmem::hub_asks()[of.slot];
    switch (verdict) {
    case There:
        return tell(of.slot, store(hub, row, slot) ? State::Found : State::None);
    case Yours:
        slot.link = connection;
        return tell(of.slot, State::Lead);
    case Others:
        return tell(of.slot, State::Wait);
    default:
        return tell(of.slot, State::None);
    }
}

// A slot that is dealt with.
constexpr std::uint32_t kDone = UINT32_MAX;

}  // namespace

void begin_questions() {
    for (StringInfo each : {&scopes, &keys, &wishes}) {
        MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
        initStringInfo(each);
        MemoryContextSwitchTo(caller);
    }
    HubAsks &asks = shmem::hub_asks();
    for (std::uint32_t i = 0; i < HubAsks::kSlots; i++) {
        const State state = asks.state(i);
        if (asks[i].database != MyDatabaseId)
            continue;
        if (state == State::Taken || state == State::Left)
            tell(i, State::None);
    }
}

bool ask_questions(HubConnection &hub, std::uint64_t connection) {
    HubAsks &asks = shmem::hub_asks();
    taken_count = 0;
    bool has_begun = false;
    for (std::uint32_t i = 0; i < HubAsks::kSlots && taken_count < kMost; i++) {
        const State state = asks.state(i);
        if (state != State::Asked && state != State::Kept && state != State::Failed)
            continue;
        if (!has_begun) {
            begin_array(&scopes, TEXTOID);
            begin_array(&keys, BYTEAOID);
            begin_array(&wishes, INT4OID);
            has_begun = true;
        }
        take(i, state, state == State::Asked ? Compute : state == State::Kept ? Kept : Failed, connection);
    }
    if (taken_count == 0)
        return false;
    for (StringInfo each : {&scopes, &keys, &wishes})
        end_array(each);
    format = pg_hton32(static_cast<std::uint32_t>(core::kForeignFormat));
    const HubConnection::Parameter parameters[] = {{INT4OID, reinterpret_cast<const char *>(&format), 4},
                                                   {TEXTARRAYOID, scopes.data, scopes.len},
                                                   {BYTEAARRAYOID, keys.data, keys.len},
                                                   {INT4ARRAYOID, wishes.data, wishes.len}};
    hub.ask("SELECT place, verdict, response, embedding, prompt_tokens, completion_tokens, finish_reason, expires_ms"
            " FROM _steadytext.hub_get($1, $2, $3, $4)",
            parameters, 4);
    return true;
}

bool heed_questions(const HubConnection &hub, std::uint64_t connection) {
    const bool is_good = hub.columns() == Columns && hub.rows() <= taken_count;
    for (int row = 0; is_good && row < hub.rows(); row++) {
        std::int32_t place, verdict;
        if (!hub.read(row, Place, place) || !hub.read(row, Judged, verdict) || place < 1 || place > taken_count)
            break;
        Taken &of = taken[place - 1];
        if (of.slot == kDone || of.wish != Compute)
            continue;
        settle(hub, row, of, verdict, connection);
        of.slot = kDone;
    }
    lose_questions();  // of which the hub says nothing
    return is_good;
}

void lose_questions() {
    for (int i = 0; i < taken_count; i++) {
        if (taken[i].slot == kDone)
            continue;
        if (taken[i].wish == Compute)
            tell(taken[i].slot, State::None);
        else
            shmem::hub_asks().free(taken[i].slot);
    }
    taken_count = 0;
}

void end_questions() {
    lose_questions();
    HubAsks &asks = shmem::hub_asks();
    for (std::uint32_t i = 0; i < HubAsks::kSlots; i++)
        for (const State state : {State::Asked, State::Kept, State::Failed})
            if (asks.take(i, MyDatabaseId, state))
                state == State::Asked ? tell(i, State::None) : asks.free(i);
}

}  // namespace steadytext::worker
