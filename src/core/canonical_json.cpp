// Walks once over the document. An object's members are written as they come, and sorted at its end: see
// canonical_json.hpp. Regime: pure.
//
// Library: simdjson's ondemand, as its numbers are still text and so of any size. It checks strings and
// structure on the way, but numbers, nulls and the end of the document have to be checked here.
#include "src/core/canonical_json.hpp"

#include "src/core/json_text.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <simdjson.h>
#include <string_view>
#include <utility>
#include <vector>

namespace steadytext::core {

namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::size_t kKeptBytes = 1 << 20;
constexpr std::size_t kUsualMembers = 12;

struct Failure {
    simdjson::error_code code;
};

void require(bool good, simdjson::error_code code) {
    if (!good)
        throw Failure{code};
}

template <class T>
T good(simdjson::simdjson_result<T> result) {
    T value{};
    const auto error = std::move(result).get(value);
    require(error == simdjson::SUCCESS, error);
    return value;
}

// Some versions of simdjson give the value itself, other versions a result.
template <class T>
T good(T value) {
    return value;
}

// Takes a character of the set, if there is any.
bool take(std::string_view &text, std::string_view set) {
    const bool found = !text.empty() && set.find(text.front()) != std::string_view::npos;
    text.remove_prefix(found ? 1 : 0);
    return found;
}

bool take_digits(std::string_view &text) {
    const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(count);
    return count > 0;
}

enum class NumberKind { None, Integer, Float };

// The kind that json.loads gives it: an int unless there is a point or an exponent.
NumberKind number_kind(std::string_view text) {
    take(text, "-");
    if (!take(text, "0") && !take_digits(text))
        return NumberKind::None;
    if (text.empty())
        return NumberKind::Integer;
    if (take(text, ".") && !take_digits(text))
        return NumberKind::None;
    if (take(text, "eE")) {
        take(text, "+-");
        if (!take_digits(text))
            return NumberKind::None;
    }
    return text.empty() ? NumberKind::Float : NumberKind::None;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

void append_number(std::string &out, std::string_view token) {
    switch (number_kind(token)) {
    case NumberKind::None:
        throw Failure{simdjson::NUMBER_ERROR};
    case NumberKind::Integer:
        out += token == "-0" ? "0" : token;
        return;
    case NumberKind::Float:
        // from_chars does not tell too large from too small. The decimal point is ".": LC_NUMERIC is always
        // C.
        append_json_number(out, std::strtod(std::string(token).c_str(), nullptr));
        return;
    }
}

// `depth` is the number of arrays and objects around the value.
template <class Value>
void append(std::string &out, Value &value, int depth);

// The place of a member in the text.
struct Member {
    std::string_view key;
    std::size_t begin;
    std::size_t end;
};

// Sorts the members; of equal keys, the last member stays. `text` begins where the object does.
std::string in_order(std::string_view text, std::vector<Member> &members) {
    std::sort(members.begin(), members.end(), [](const Member &a, const Member &b) {
        const int order = a.key.compare(b.key);
        return order != 0 ? order < 0 : a.begin < b.begin;
    });
    std::string sorted;
    sorted.reserve(text.size());
    for (std::size_t i = 0; i < members.size(); i++) {
        if (i + 1 < members.size() && members[i].key == members[i + 1].key)
            continue;
        sorted += sorted.empty() ? "{" : ", ";
        sorted += text.substr(members[i].begin, members[i].end - members[i].begin);
    }
    return sorted;
}

void append_object(std::string &out, ondemand::object object, int depth) {
    require(depth < kCanonicalDepth, simdjson::DEPTH_ERROR);
    const std::size_t start = out.size();
    std::vector<Member> members;
    members.reserve(kUsualMembers);
    bool ordered = true;
    out += '{';
    for (auto field : object) {
        out += members.empty() ? "" : ", ";
        Member member{good(field.unescaped_key()), out.size() - start, 0};
        append_json_string(out, member.key, Escape::Ascii);
        out += ": ";
        ondemand::value value = good(field.value());
        append(out, value, depth + 1);
        member.end = out.size() - start;
        // The bytes of UTF-8 are in the order of the code points.
        ordered = ordered && (members.empty() || members.back().key < member.key);
        members.push_back(member);
    }
    if (!ordered)
        out.replace(start, std::string::npos, in_order(std::string_view(out).substr(start), members));
    out += '}';
}

void append_array(std::string &out, ondemand::array array, int depth) {
    require(depth < kCanonicalDepth, simdjson::DEPTH_ERROR);
    bool first = true;
    out += '[';
    for (auto element : array) {
        out += first ? "" : ", ";
        first = false;
        ondemand::value value = good(std::move(element));
        append(out, value, depth + 1);
    }
    out += ']';
}

template <class Value>
void append(std::string &out, Value &value, int depth) {
    switch (good(value.type())) {
    case ondemand::json_type::object:
        return append_object(out, good(value.get_object()), depth);
    case ondemand::json_type::array:
        return append_array(out, good(value.get_array()), depth);
    case ondemand::json_type::string:
        return append_json_string(out, good(value.get_string()), Escape::Ascii);
    case ondemand::json_type::number:
        // The raw token goes on until the next token begins.
        return append_number(out, trimmed(good(value.raw_json_token())));
    case ondemand::json_type::boolean:
        out += good(value.get_bool()) ? "true" : "false";
        return;
    case ondemand::json_type::null:
        require(good(value.is_null()), simdjson::N_ATOM_ERROR);
        out += "null";
        return;
    }
}

// simdjson before 3.1 does not look behind a word or number that is the whole document, so the text is
// checked here.
void append_document(std::string &out, ondemand::document &document, std::string_view text) {
    switch (good(document.type())) {
    case ondemand::json_type::number:
        return append_number(out, text);
    case ondemand::json_type::boolean:
    case ondemand::json_type::null:
        require(text == "true" || text == "false" || text == "null", simdjson::TAPE_ERROR);
        out += text;
        return;
    default:
        append(out, document, 0);
        require(document.current_location().error() == simdjson::OUT_OF_BOUNDS, simdjson::TAPE_ERROR);
    }
}

// The parser of this process: it keeps its buffers between documents, except the buffers of a huge
// document.
ondemand::parser &parser_for(std::size_t bytes) {
    static ondemand::parser *parser = new ondemand::parser;
    if (parser->capacity() > kKeptBytes && bytes <= kKeptBytes)
        *parser = ondemand::parser();
    return *parser;
}

}  // namespace

bool canonical_json(const PaddedText &text, std::string &out, Problem &problem) {
    const std::string_view json = trimmed(text.text);
    out.clear();
    try {
        ondemand::parser &parser = parser_for(json.size());
        ondemand::document document =
            good(parser.iterate(json.data(), json.size(), json.size() + PaddedText::kPadding));
        append_document(out, document, json);
        return true;
    } catch (const Failure &failure) {
        if (failure.code == simdjson::MEMALLOC)
            throw std::bad_alloc();
        if (failure.code == simdjson::DEPTH_ERROR)
            return problem.set(sqlstate::kProgramLimitExceeded, "JSON nests deeper than %d levels", kCanonicalDepth);
        return problem.set(sqlstate::kInvalidTextRepresentation, "invalid JSON: %s",
                           simdjson::error_message(failure.code));
    }
}

}  // namespace steadytext::core
