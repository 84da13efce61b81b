// What an engine teaches about the parameters that a model takes. Regime: see openai.hpp.
//
// OpenAI's o1 and gpt-5 and their kind refuse max_tokens (they want max_completion_tokens) and a temperature; others do not know seed, stop or
// stream_options. Each refusal names one parameter, so a model may have to teach several times, each once.
#include "src/core/openai_json.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::size_t kMostTaught = 256;  // models of one engine
constexpr std::string_view kOtherLimit = "max_completion_tokens";

// The parameter that is not taken, if that is what the answer says.
std::string refused_parameter(const EngineError &error) {
    for (const std::string_view code : {"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
        if (error.code == code)
            return error.parameter;
    for (const std::string_view words : {"unsupported", "not supported", "does not support", "unrecognized", "extra inputs"})
        if (contains_word(error.words, words))
            return error.parameter;
    return {};
}

}  // namespace

bool learn(Engine &engine, const Request &request, long status, std::string_view body, std::string &lesson) {
    const bool is_asked = request.kind == Request::Kind::Generate || request.kind == Request::Kind::Embed || request.kind == Request::Kind::EmbedBatch;
    if ((status != 400 && status != 422) || !is_asked || request.is_check)
        return false;
    const Dialect before = engine.dialect_of(request.model);
    if (request.dialect != before)
        return true;
    const std::string parameter = refused_parameter(read_error(body));
    Dialect after = before;
    if (parameter == before.max_tokens && parameter == "max_tokens") {
        after.max_tokens = kOtherLimit;
        lesson = "model " + request.model + " takes " + std::string(kOtherLimit) + ", not max_tokens";
    }
    const auto *found = std::find(std::begin(kOmittable), std::end(kOmittable), parameter);
    if (found != std::end(kOmittable)) {
        after.omitted = static_cast<std::uint8_t>(after.omitted | 1U << (found - std::begin(kOmittable)));
        lesson = "model " + request.model + " takes no " + parameter;
    }
    if (after == before || engine.learned.size() >= kMostTaught) {
        lesson.clear();
        return false;
    }
    engine.learned[request.model] = std::move(after);
    return true;
}

}  // namespace steadytext::core::openai
