// See targets.hpp. A broken promise aborts.
#include "t/fuzz/targets.hpp"

#include "daemon/gguf_header.hpp"
#include "src/core/cache_record.hpp"
#include "src/core/canonical_json.hpp"
#include "src/core/constraint/json_value.hpp"
#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/member_order.hpp"
#include "src/core/constraint/postgres_pattern.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/daemon_list.hpp"
#include "src/core/conninfo.hpp"
#include "src/core/endpoint.hpp"
#include "src/core/event_stream.hpp"
#include "src/core/foreign_record.hpp"
#include "src/core/jinja/jinja.hpp"
#include "src/core/json_text.hpp"
#include "src/core/key_file.hpp"
#include "src/core/listen_address.hpp"
#include "src/core/nfc.hpp"
#include "src/core/openai.hpp"
#include "src/core/parameters.hpp"
#include "src/core/reply.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace steadytext::fuzz {

namespace {

using namespace core;
using namespace core::openai;

void promise(bool kept, const char *what) {
    if (kept)
        return;
    std::fprintf(stderr, "broken promise: %s\n", what);
    std::abort();
}

// The bytes with the room behind them that parsers ask for, and not one byte more.
class Padded {
public:
    explicit Padded(std::string_view bytes)
        : room_(new char[bytes.size() + PaddedText::kPadding]()), size_(bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), room_.get());
    }
    [[nodiscard]] PaddedText text() const { return {{room_.get(), size_}}; }

private:
    std::unique_ptr<char[]> room_;
    std::size_t size_;
};

// Up to the first line end, and what follows it.
std::pair<std::string_view, std::string_view> two(std::string_view bytes) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    return {bytes.substr(0, end), bytes.substr(std::min(end + 1, bytes.size()))};
}

void json_text(std::string_view bytes) {
    if (!utf8_is_valid(bytes))
        return;
    for (const Escape escape : {Escape::Ascii, Escape::Utf8}) {
        std::string json;
        append_json_string(json, bytes, escape);
        std::string canonical;
        Problem problem;
        promise(canonical_json(Padded(json).text(), canonical, problem), "what is written can be read");
    }
}

void canonical(std::string_view bytes) {
    std::string once, twice;
    Problem problem;
    if (!canonical_json(Padded(bytes).text(), once, problem))
        return promise(problem.is_set(), "a refusal says why");
    // Python writes a number beyond all doubles as Infinity, which no reader of JSON takes.
    if (once.find("Infinity") == std::string::npos)
        promise(canonical_json(Padded(once).text(), twice, problem) && once == twice, "the canonical form is its own");
}

// The first line is the variables, the rest a template.
void jinja_template(std::string_view bytes) {
    const auto [variables, source] = two(bytes);
    if (!utf8_is_valid(bytes) || contains_nul(bytes))
        return;
    for (const bool strict : {true, false}) {
        Work work(200'000);
        Problem problem;
        std::string out;
        std::vector<std::string> names;
        const bool is_template = core::jinja::check(source, work, names, problem);
        promise(is_template || problem.is_set(), "a refusal says why");
        Problem again;
        if (core::jinja::render(source, variables, strict, work, out, again))
            promise(is_template && utf8_is_valid(out) && !contains_nul(out), "what is rendered is text, of a template");
        else
            promise(again.is_set(), "a failure says why");
    }
}

void endpoint(std::string_view bytes) {
    Endpoint parsed, again;
    Problem problem;
    if (!parse_endpoint(bytes, parsed, problem))
        return promise(problem.is_set(), "a refusal says why");
    promise(parse_endpoint(parsed.text, again, problem), "its text is an endpoint");
    promise(parsed.kind == EndpointKind::Ipc || check_host(parsed.host, problem), "its host is one");
    (void)is_local(parsed);
    (void)has_host_name(parsed);
}

void daemon_list(std::string_view bytes) {
    constexpr std::size_t kMost = 8;
    const auto entries = std::make_unique<DaemonEntry[]>(kMost);
    Problem problem;
    const std::size_t count = parse_daemon_list(bytes, entries.get(), kMost, problem);
    (void)check_daemon_list(bytes, problem);
    const auto again = std::make_unique<DaemonEntry[]>(1);
    for (std::size_t i = 0; i < count; i++) {
        if (!entries[i].valid)
            continue;
        Problem ignored;
        const std::string text = format_daemon_entry(entries[i]);
        promise(parse_daemon_list(text, again.get(), 1, ignored) == 1 && again[0].valid &&
                    format_daemon_entry(again[0]) == text,
                "what is written is read back the same");
    }
}

// The first line is an endpoint, the rest a list in which it is looked for and changed.
void daemon_list_edit(std::string_view bytes) {
    const auto [endpoint, rest] = two(bytes);
    std::string list(rest);
    Problem problem;
    if (!has_daemon(list, endpoint) && !add_daemon(list, endpoint, 3, problem))
        return;
    promise(has_daemon(list, endpoint), "what was added is there");
    promise(set_daemon_weight(list, endpoint, 7, problem) && drain_daemon(list, endpoint, true, problem),
            "and can be changed");
    promise(remove_daemon(list, endpoint, problem), "and removed");
}

// A file of a directory of models.
void gguf_header(std::string_view bytes) {
    static const std::string path = "/tmp/steadytext-fuzz-model." + std::to_string(getpid());
    std::FILE *file = std::fopen(path.c_str(), "w");
    if (file == nullptr)
        return;
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    daemon::GgufHeader header;
    Problem problem;
    if (daemon::read_gguf_header(path, header, problem)) {
        promise(header.file_bytes == bytes.size() && bytes.starts_with("GGUF"), "what is read is the file");
        constexpr int kMostSlots = 1'024, kMostContext = 1 << 20;
        const std::uint64_t little = daemon::memory_of(header, 1, 512, 0);
        promise(little >= bytes.size() && daemon::memory_of(header, kMostSlots, kMostContext, 1 << 20) >= little,
                "more slots do not take less memory");
    } else {
        promise(problem.is_set(), "a refusal says why");
    }
    (void)unlink(path.c_str());
}

void key_file(std::string_view bytes) {
    static const std::string path = "/tmp/steadytext-fuzz-key." + std::to_string(getpid());
    std::FILE *file = std::fopen(path.c_str(), "w");
    if (file == nullptr)
        return;
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    (void)chmod(path.c_str(), 0600);
    std::string key;
    Problem problem;
    if (read_key_file(path.c_str(), KeyKind::Secret, key, problem))
        promise(!key.empty() && std::all_of(key.begin(), key.end(), [](char c) { return c >= ' ' && c <= '~'; }),
                "a key is one line");
    else
        promise(problem.is_set(), "a refusal says why");
    (void)unlink(path.c_str());
}

void reply(std::string_view bytes) {
    const Padded body(bytes);
    Problem problem;
    GenerateReply generated;
    if (read_generate_reply(body.text(), generated, problem))
        promise(utf8_is_valid(generated.text) && !contains_nul(generated.text),
                "an answer is text PostgreSQL can hold");
    std::vector<float> vector;
    ReplyUsage usage;
    if (read_embed_reply(body.text(), vector, usage, problem))
        promise(vector.size() <= kMaxDimensions && usage.engine_ms <= 1e9, "a vector has an end, and so has time");
    const std::string_view documents[] = {"a", "b", "b"};
    std::vector<double> scores;
    if (read_rerank_reply(body.text(), documents, scores, usage, problem))
        promise(scores.size() == std::size(documents), "a score for each");
    std::string storage;
    std::string_view id;
    (void)envelope_id(bytes, id, storage);
}

void openai_request(std::string_view bytes) {
    Engine engine;
    engine.models = {"m"};
    Request request;
    (void)read_request(bytes, engine, request);
}

// The first byte says what was asked.
void openai_reply(std::string_view bytes) {
    Engine engine;
    engine.models = {"m"};
    Request request;
    const unsigned how = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[0]);
    request.kind = static_cast<Request::Kind>(how % 7);
    request.id = "x";
    request.texts = 1 + how / 7 % 2;
    request.return_usage = how / 14 % 2 != 0;
    request.streams = how / 28 % 2 != 0;
    if (how / 56 % 2 != 0)
        request.choices = {"yes", "no"};
    const std::string_view body = bytes.substr(std::min<std::size_t>(1, bytes.size()));
    for (const long status : {200L, 400L, 429L, 500L, 503L}) {
        const Reply reply = read_reply(request, engine, status, body, 1.0, true);
        for (const std::string *words : {&reply.reason, &reply.message})
            promise(std::none_of(words->begin(), words->end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }) ||
                        status == 200,
                    "an engine's words are plain");
    }
    (void)read_models(body, engine);
}

std::vector<std::string> events_of(std::string_view bytes, std::size_t size) {
    EventStream stream;
    std::vector<std::string> events;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
        stream.append(bytes.substr(0, size));
        for (std::string data; stream.next(data);)
            events.push_back(data);
    }
    return events;
}

// The first byte says in what pieces the rest arrives.
void event_stream(std::string_view bytes) {
    const std::size_t size = bytes.empty() ? 1 : 1 + static_cast<unsigned char>(bytes[0]) % 16;
    const std::string_view rest = bytes.substr(std::min<std::size_t>(1, bytes.size()));
    const std::vector<std::string> events = events_of(rest, rest.size());
    promise(events_of(rest, size) == events, "it does not matter where a stream is cut");
    Engine engine;
    Request request;
    request.id = "x";
    request.streams = true;
    request.return_usage = size % 2 == 0;
    StreamReader reader;
    for (const std::string &data : events) {
        promise(data.find('\r') == std::string::npos, "a line end is no data");
        std::string message;
        std::string_view piece;
        if (reader.read(request, data, message) == StreamReader::Event::Piece)
            promise(read_stream_message(Padded(message).text(), piece) == StreamMessage::Piece, "a piece is one");
    }
    std::string_view end;
    if (const Reply reply = reader.end(request, engine, 1.0); reply.verdict == Verdict::Answer)
        promise(read_stream_message(Padded(reply.message).text(), end) == StreamMessage::End, "an end is one");
}

void normal_form(std::string_view bytes) {
    if (!utf8_is_valid(bytes))
        return;
    std::string storage, again;
    const std::string once(nfc(bytes, storage));
    promise(utf8_is_valid(once), "NFC of a text is one");
    promise(nfc(once, again) == once, "and is its own");
}

// A pattern, and a text that may match it.
void regex(std::string_view bytes) {
    const auto [pattern, text] = two(bytes.substr(0, 256));
    constraint::Network network;
    Problem problem;
    if (!constraint::compile_regex(pattern, network, problem))
        return promise(problem.is_set(), "a refusal says why");
    if (!network.is_satisfiable())
        return;
    constraint::Matcher matcher(network);
    (void)matcher.matches(text);
    const constraint::Matcher::Position start = matcher.start();
    if (matcher.distance(start) >= 4096)
        return;
    const std::string shortest = matcher.completion(start);
    promise(matcher.matches(shortest), "the shortest match matches");
    constraint::Network lenient;
    if (constraint::compile_regex(pattern, lenient, problem, nullptr, constraint::Alphabet::Postgres))
        promise(constraint::Matcher(lenient).matches(shortest), "and is taken of another engine");
}

// A pattern of PostgreSQL's: what matches it satisfies the schema that it becomes, and is no longer than is said.
void postgres_pattern(std::string_view pattern) {
    pattern = pattern.substr(0, 256);
    constraint::SchemaPattern translated, ascii;
    const bool good = constraint::schema_pattern(pattern, false, translated);
    promise(constraint::schema_pattern(pattern, true, ascii) == good && ascii.longest == translated.longest,
            "words of ASCII or not, it is one pattern");
    promise(translated.text.size() <= pattern.size() * 28, "it is not much longer");
    constraint::Network network, compiled;
    Problem problem;
    if (!good || !utf8_is_valid(pattern) || !constraint::compile_regex(pattern, network, problem) ||
        !network.is_satisfiable())
        return;
    constraint::Matcher matcher(network);
    if (matcher.distance(matcher.start()) >= 4096)
        return;
    const std::string shortest = matcher.completion(matcher.start());
    const std::string schema = constraint::write_json({{"pattern", translated.text}});
    if (constraint::compile_schema(schema, compiled, problem))
        promise(constraint::check_document(schema, constraint::write_json(shortest), problem),
                "what matches the one matches the other");
    const auto characters = std::count_if(shortest.begin(), shortest.end(), [](char c) { return (c & 0xC0) != 0x80; });
    promise(static_cast<std::size_t>(characters) <= translated.longest, "none is longer than the longest");
    promise(translated.matches_blank || shortest.find(' ') == std::string::npos, "a blank is told of");
}

// What stands behind LIKE.
void like_pattern(std::string_view like) {
    like = like.substr(0, 256);
    constraint::SchemaPattern translated;
    if (!constraint::schema_pattern_of_like(like, translated) || !utf8_is_valid(like))
        return;
    promise(translated.text.size() <= like.size() * 28 + 2, "it is not much longer");
    std::string text;  // _ for itself, nothing for %
    for (std::size_t i = 0; i < like.size(); i++) {
        if (like[i] == '%')
            continue;
        i += like[i] == '\\';
        text += like[i];
    }
    Problem problem;
    const std::string schema = constraint::write_json({{"pattern", translated.text}});
    promise(constraint::check_document(schema, constraint::write_json(text), problem),
            "what matches the one matches the other");
}

// A schema, and a document that may satisfy it.
void schema(std::string_view bytes) {
    const auto [text, document] = two(bytes.substr(0, 1024));
    Problem problem;
    constraint::Network network;
    if (!constraint::compile_schema(text, network, problem))
        return promise(problem.is_set(), "a refusal says why");
    (void)constraint::check_document(text, document, problem);
    if (!network.is_satisfiable())
        return;
    constraint::Matcher matcher(network);
    if (matcher.distance(matcher.start()) < 4096) {
        const std::string shortest = matcher.completion(matcher.start());
        promise(matcher.matches(shortest), "the shortest document is one");
        Problem unsatisfied;
        promise(constraint::check_document(text, shortest, unsatisfied), "and satisfies the schema");
    }
}

// A schema.
void member_order(std::string_view bytes) {
    constraint::Json schema, ordered;
    if (!constraint::read_json(bytes, schema))
        return;
    const std::string once = constraint::with_member_order(bytes, "");
    promise(constraint::read_json(once, ordered), "a schema in order is JSON");
    promise(constraint::with_member_order(once, "") == once, "and stays as it is");
    promise(constraint::Value(schema) == constraint::Value(ordered), "and the same schema");
    promise(constraint::with_member_order(constraint::write_json(schema), bytes) == constraint::write_json(schema),
            "a text is in its own order");
}

void listen_address(std::string_view bytes) {
    ListenAddress address;
    Problem problem;
    promise(parse_listen_address(bytes, address, problem) != problem.is_set(), "a refusal says why");
}

void conninfo(std::string_view bytes) {
    Problem problem;
    promise(is_conninfo(bytes, problem) != problem.is_set(), "a refusal says why");
}

void cache_record(std::string_view bytes) {
    CacheRecord record;
    if (!decode(bytes, record))
        return;
    std::string encoded;
    encode(record, encoded);
    CacheRecord again;
    promise(decode(encoded, again) && again.prompt == record.prompt && again.finish_reason == record.finish_reason,
            "a record comes back");
    Problem problem;
    constexpr std::int64_t kNow = 1'000'000'000'000'000;
    const bool is_good = check_foreign(again, "db/role", kNow, problem);
    promise(is_good != problem.is_set(), "a refusal says why");
    promise(!is_good || (again.numbers.at_us > 0 && again.numbers.at_us <= kNow), "the past is the past");
}

// The first line names a setting or a key, the rest is its value.
void parameters(std::string_view bytes) {
    const auto [name, value] = two(bytes);
    Problem problem;
    promise(check_config(name, value, problem) != problem.is_set(), "a refusal says why");
    for (const std::span<const Parameter> rows : {arguments(), settings()})
        for (const Parameter &row : rows) {
            if (row.rule.kind != Kind::Text || (!name.empty() && name != row.name))
                continue;
            Problem refusal;
            promise(check(row.rule, row.shown(), value, 1000, refusal) != refusal.is_set(), "a refusal says why");
        }
}

constexpr Target kTargets[] = {{"json_text", json_text},
                               {"canonical_json", canonical},
                               {"endpoint", endpoint},
                               {"daemon_list", daemon_list},
                               {"daemon_list_edit", daemon_list_edit},
                               {"gguf_header", gguf_header},
                               {"key_file", key_file},
                               {"reply", reply},
                               {"openai_request", openai_request},
                               {"openai_reply", openai_reply},
                               {"event_stream", event_stream},
                               {"nfc", normal_form},
                               {"postgres_pattern", postgres_pattern},
                               {"like_pattern", like_pattern},
                               {"jinja", jinja_template},
                               {"regex", regex},
                               {"schema", schema},
                               {"member_order", member_order},
                               {"listen_address", listen_address},
                               {"conninfo", conninfo},
                               {"cache_record", cache_record},
                               {"parameters", parameters}};

}  // namespace

std::span<const Target> targets() { return kTargets; }

}  // namespace steadytext::fuzz
