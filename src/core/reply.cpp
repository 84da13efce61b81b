// Reads the JSON of daemons' replies with simdjson: see reply.hpp. Regime: pure.
#include "src/core/reply.hpp"

#include "src/core/constraint/network.hpp"
#include "src/core/plain_words.hpp"
#include "src/core/utf8.hpp"

#include <cmath>
#include <limits>
#include <simdjson.h>
#include <unordered_map>

namespace steadytext::core {

namespace dom = simdjson::dom;

namespace {

static_assert(PaddedText::kPadding >= simdjson::SIMDJSON_PADDING);

bool invalid(Problem &problem, const char *why) {
    problem.set(sqlstate::kProtocolViolation, "the daemon sent an invalid reply");
    problem.with_detail("%s", why);
    return false;
}

// The parser of this process: it keeps its buffers between replies, except the buffers of a huge
// reply.
bool parse(PaddedText body, dom::element &root) {
    constexpr std::size_t kKeptBytes = 1 << 20;
    static dom::parser *parser = new dom::parser;
    if (parser->capacity() > kKeptBytes && body.text.size() <= kKeptBytes)
        *parser = dom::parser();
    if (parser->capacity() < body.text.size() &&
        parser->allocate(std::max(body.text.size(), std::size_t{4096}), kMaxDepth) != simdjson::SUCCESS)
        throw std::bad_alloc();
    return parser->parse(body.text.data(), body.text.size(), false).get(root) == simdjson::SUCCESS;
}

// The reply and its result; a daemon's own error becomes the problem.
bool read_result(PaddedText body, dom::object &reply, dom::element &result, Problem &problem) {
    dom::element root;
    if (!parse(body, root) || root.get(reply) != simdjson::SUCCESS)
        return invalid(problem, "It is not a JSON object in UTF-8, or is nested too deeply.");
    dom::element error;
    if (reply["error"].get(error) == simdjson::SUCCESS && !error.is_null()) {
        std::string_view text;
        if (error.get(text) != simdjson::SUCCESS)
            text = "unknown";
        const std::string words = plain_words(text, 400);
        text = utf8_prefix(words, 200);
        const int length = static_cast<int>(text.size());
        if (text.starts_with(constraint::kTooFewTokens)) {
            problem.set(sqlstate::kProgramLimitExceeded, "no answer of this form fits into max_tokens");
            problem.with_detail("%.*s.", length, text.data()).with_hint("Raise max_tokens.");
            return false;
        }
        if (text.starts_with(constraint::kTooMuchWork)) {
            problem.set(sqlstate::kProgramLimitExceeded, "an answer of this form takes too much work");
            problem.with_detail("%.*s.", length, text.data()).with_hint("Ask for a simpler form.");
            return false;
        }
        problem.set(sqlstate::kExternalRoutineError, "the daemon reported an error: %.*s", length, text.data());
        if (text.size() < words.size())
            problem.with_detail("The whole of it: %s", words.c_str());
        return false;
    }
    return reply["result"].get(result) == simdjson::SUCCESS || invalid(problem, "It has neither result nor error.");
}

bool read_result(PaddedText body, dom::element &result, Problem &problem) {
    dom::object reply;
    return read_result(body, reply, result, problem);
}

std::string_view text_of(dom::object object, const char *key) {
    std::string_view text;
    return object[key].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

// A count or time from 0 to a billion; -1 for anything else, as larger numbers are not believed.
double number_of(dom::object object, const char *key) {
    double number;
    return object[key].get(number) == simdjson::SUCCESS && number >= 0 && number <= 1e9 ? number : -1;
}

void read_usage(dom::object object, GenerateReply &reply) {
    reply.model = text_of(object, "model");
    reply.fingerprint = text_of(object, "fingerprint");
    reply.finish_reason = text_of(object, "finish_reason");
    reply.reasoning = text_of(object, "reasoning");
    reply.prompt_tokens = static_cast<int>(number_of(object, "prompt_tokens"));
    reply.completion_tokens = static_cast<int>(number_of(object, "completion_tokens"));
    reply.engine_ms = number_of(object, "engine_ms");
}

// As above, and also reads "usage" beside the result.
bool read_result(PaddedText body, dom::element &result, ReplyUsage &usage, Problem &problem) {
    usage = ReplyUsage{};
    dom::object reply, told;
    if (!read_result(body, reply, result, problem))
        return false;
    if (reply["usage"].get(told) == simdjson::SUCCESS) {
        usage.prompt_tokens = static_cast<int>(number_of(told, "prompt_tokens"));
        usage.cut_tokens = std::max(0, static_cast<int>(number_of(told, "cut_tokens")));
        usage.engine_ms = number_of(told, "engine_ms");
        if (told["fingerprint"].get(usage.fingerprint) != simdjson::SUCCESS)
            usage.fingerprint = {};
    }
    return true;
}

bool check_no_nul(const GenerateReply &reply, Problem &problem) {
    for (const std::string_view part :
         {reply.text, reply.model, reply.fingerprint, reply.finish_reason, reply.reasoning})
        if (contains_nul(part))
            return invalid(problem, "A text in it contains a NUL character.");
    return true;
}

}  // namespace

namespace {

constexpr std::size_t kLongestId = 256;

std::string_view without_space(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kSpace);
    return first == std::string_view::npos ? std::string_view()
                                           : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The id that is the last member of an object, if `body` is one: that it ends with a text and a brace is enough for that.
bool last_id(std::string_view body, std::string_view &id) {
    constexpr std::size_t kTail = kLongestId + 64;
    std::string_view tail = without_space(body.substr(body.size() - std::min(body.size(), kTail)));
    if (!tail.ends_with('}'))
        return false;
    tail = without_space(tail.substr(0, tail.size() - 1));
    if (!tail.ends_with('"'))
        return false;
    tail.remove_suffix(1);
    const std::size_t begin = tail.find_last_of("\"\\");
    if (begin == std::string_view::npos || tail[begin] != '"')
        return false;
    id = tail.substr(begin + 1);
    tail = without_space(tail.substr(0, begin));
    if (!tail.ends_with(':'))
        return false;
    tail = without_space(tail.substr(0, tail.size() - 1));
    if (!tail.ends_with("\"id\""))
        return false;
    return without_space(tail.substr(0, tail.size() - 4)).ends_with(',');
}

}  // namespace

bool envelope_id(std::string_view body, std::string_view &id, std::string &storage) {
    constexpr std::size_t kReadWhole = 1 << 20;
    for (const std::string_view start : {std::string_view("{\"id\": \""), std::string_view("{\"id\":\"")}) {
        if (!body.starts_with(start))
            continue;
        const std::size_t end = body.substr(0, start.size() + kLongestId + 1).find_first_of("\"\\", start.size());
        if (end == std::string_view::npos)
            return false;
        if (body[end] == '"') {
            id = body.substr(start.size(), end - start.size());
            return true;
        }
    }
    // The id stands elsewhere: read the whole message, if that does not take long.
    if (body.size() > kReadWhole)
        return last_id(body, id);
    storage.assign(body);
    storage.append(PaddedText::kPadding, '\0');
    dom::element root;
    std::string_view found;
    if (!parse({std::string_view(storage).substr(0, body.size())}, root) || root["id"].get(found) != simdjson::SUCCESS)
        return false;
    storage.assign(found);
    id = storage;
    return true;
}

bool read_generate_reply(PaddedText body, GenerateReply &reply, Problem &problem) {
    dom::element result;
    if (!read_result(body, result, problem))
        return false;
    reply = GenerateReply{};
    dom::object object;
    dom::element text;
    if (result.get(object) == simdjson::SUCCESS && object["text"].get(text) == simdjson::SUCCESS) {
        read_usage(object, reply);
    } else {
        text = result;
    }
    reply.is_null = text.is_null();
    if (!reply.is_null && text.get(reply.text) != simdjson::SUCCESS)
        return invalid(problem, "The result is not a text.");
    return check_no_nul(reply, problem);
}

StreamMessage read_stream_message(PaddedText body, std::string_view &piece) {
    dom::element root;
    dom::element error;
    dom::element token;
    if (!parse(body, root) || !root.is_object())
        return StreamMessage::Invalid;
    if (root["error"].get(error) == simdjson::SUCCESS && !error.is_null())
        return StreamMessage::End;
    if (root["result"]["token"].get(token) != simdjson::SUCCESS || token.get(piece) != simdjson::SUCCESS ||
        contains_nul(piece))
        return StreamMessage::Invalid;
    return piece == kStreamEnd ? StreamMessage::End : StreamMessage::Piece;
}

bool read_stream_end(PaddedText body, std::string_view text, GenerateReply &reply, Problem &problem) {
    dom::element result;
    dom::object object;
    if (!read_result(body, result, problem))
        return false;
    if (result.get(object) != simdjson::SUCCESS)
        return invalid(problem, "The stream's end is not an object.");
    reply = GenerateReply{};
    read_usage(object, reply);
    reply.text = text;
    reply.is_null = text.empty() && reply.finish_reason.empty();
    return check_no_nul(reply, problem);
}

bool read_count_reply(PaddedText body, std::int32_t &tokens, Problem &problem) {
    dom::element result;
    std::int64_t told = 0;
    if (!read_result(body, result, problem))
        return false;
    if (result["tokens"].get(told) != simdjson::SUCCESS || told < 0 || told > INT32_MAX)
        return invalid(problem, "The result is not a number of tokens.");
    tokens = static_cast<std::int32_t>(told);
    return true;
}

bool read_embed_reply(PaddedText body, std::vector<float> &vector, ReplyUsage &usage, Problem &problem) {
    vector.clear();
    dom::element result;
    dom::array numbers;
    if (!read_result(body, result, usage, problem))
        return false;
    if (result.get(numbers) != simdjson::SUCCESS || numbers.size() == 0 || numbers.size() > kMaxDimensions)
        return invalid(problem, "The result is not an array of numbers.");
    vector.reserve(numbers.size());
    for (const dom::element element : numbers) {
        double number;
        if (element.get(number) != simdjson::SUCCESS || std::abs(number) > std::numeric_limits<float>::max())
            return invalid(problem, "The result is not an array of finite numbers.");
        vector.push_back(static_cast<float>(number));
    }
    return true;
}

bool read_rerank_reply(PaddedText body, std::span<const std::string_view> documents, std::vector<double> &scores,
                       ReplyUsage &usage, Problem &problem) {
    dom::element result;
    dom::array pairs;
    if (!read_result(body, result, usage, problem))
        return false;
    if (result.get(pairs) != simdjson::SUCCESS)
        return invalid(problem, "The result is not an array.");
    // Equal documents wait for their scores in the order they were given.
    std::unordered_map<std::string_view, std::vector<std::size_t>> waiting;
    for (std::size_t i = documents.size(); i-- > 0;)
        waiting[documents[i]].push_back(i);
    scores.assign(documents.size(), 0);
    std::size_t count = 0;
    for (const dom::element element : pairs) {
        std::string_view document;
        double score;
        if (element.at(0).get(document) != simdjson::SUCCESS || element.at(1).get(score) != simdjson::SUCCESS ||
            !(score >= 0 && score <= 1))
            return invalid(problem, "The result is not an array of documents with scores from 0 to 1.");
        const auto found = waiting.find(document);
        if (found == waiting.end() || found->second.empty())
            return invalid(problem, "A document in it was not asked for.");
        scores[found->second.back()] = score;
        found->second.pop_back();
        count++;
    }
    return count == documents.size() || invalid(problem, "Not all documents have a score.");
}

}  // namespace steadytext::core
