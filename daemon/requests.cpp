// A reader for each method: see requests.hpp. Regime: pure.
#include "daemon/requests.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "daemon/answers.hpp"
#include "src/core/constraint/json_value.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/json_shape.hpp"

namespace steadytext::daemon {

namespace {

using core::constraint::Json;  // keeps the order of a schema's members and the digits of its numbers

constexpr const char *kRankInstruction = "Given a web search query, retrieve relevant passages that answer the query";
constexpr int kDefaultMaxNewTokens = 1024;
constexpr float kMaxTemperature = 100;
// The depth of a message: a schema within parameters within the message.
constexpr std::size_t kMaxDepth = core::constraint::kMaxSchemaDepth + 8;
constexpr std::size_t kMaxIdBytes = 1024;
constexpr std::size_t kMaxStopBytes = 1024;
constexpr std::size_t kMaxScopeBytes = 1024;
constexpr std::size_t kMaxTexts = 10'000;  // to embed or to rank in a single message
constexpr std::size_t kMaxQuotedBytes = 200;

// Cut to the length that an error message has room for.
std::string quoted(const Json &json) {
    std::string text = core::constraint::write_json(json);
    if (text.size() > kMaxQuotedBytes)
        text.replace(kMaxQuotedBytes, std::string::npos, "...");
    return text;
}

// Reads parameters and keeps the first complaint; after a complaint the values are defaults and are not used.
class Parameters {
public:
    explicit Parameters(const Json &object) : object_(object) {}

    std::string error;

    [[nodiscard]] const Json *find(const char *name) const {
        const auto found = object_.find(name);
        return found == object_.end() ? nullptr : &*found;
    }

    // Null counts as absent, unless the protocol says otherwise.
    [[nodiscard]] const Json *find_value(const char *name) const {
        const Json *value = find(name);
        return value == nullptr || value->is_null() ? nullptr : value;
    }

    std::string text(const char *name, const char *fallback) {
        const Json *value = find_value(name);
        if (value == nullptr)
            return fallback;
        if (!value->is_string()) {
            complain(std::string(name) + " must be a string");
            return fallback;
        }
        return value->get<std::string>();
    }

    bool flag(const char *name, bool fallback) {
        const Json *value = find_value(name);
        if (value != nullptr && !value->is_boolean())
            complain(std::string(name) + " must be true or false");
        return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
    }

    long long integer(const char *name, long long fallback, long long least, long long most) {
        const Json *value = find_value(name);
        if (value == nullptr)
            return fallback;
        if (!value->is_number_integer() || value->get<long long>() < least || value->get<long long>() > most) {
            complain(std::string(name) + " must be an integer from " + std::to_string(least) + " to " +
                     std::to_string(most) + ", got " + quoted(*value));
            return fallback;
        }
        return value->get<long long>();
    }

    // The words of the original daemon, which clients may know.
    std::uint32_t seed() {
        const Json *value = find("seed");
        if (value == nullptr)
            return 42;
        if (!value->is_number_integer() || value->get<long long>() < 0) {
            complain("Seed must be a non-negative integer, got " + (value->is_null() ? "None" : quoted(*value)));
            return 0;
        }
        return static_cast<std::uint32_t>(value->get<long long>());
    }

    float temperature() {
        const Json *value = find_value("temperature");
        if (value == nullptr)
            return 0;
        const float temperature = core::constraint::is_number(*value)
                                      ? std::strtof(core::constraint::write_json(*value).c_str(), nullptr)
                                      : -1;
        if (!(temperature >= 0 && temperature <= kMaxTemperature)) {
            complain("temperature must be a non-negative number, and not above 100, got " + quoted(*value));
            return 0;
        }
        return temperature;
    }

    std::vector<std::string> texts(const char *name, const char *complaint, std::size_t most = kMaxTexts) {
        const Json *value = find(name);
        std::vector<std::string> texts;
        if (value == nullptr)
            return texts;
        if (value->is_string())
            return {value->get<std::string>()};
        const bool strings = value->is_array() && std::all_of(value->begin(), value->end(),
                                                              [](const Json &item) { return item.is_string(); });
        if (!strings)
            complain(complaint);
        else if (value->size() > most)
            complain(std::string(name) + " must have at most " + std::to_string(most) + " elements");
        else
            for (const Json &item : *value)
                texts.push_back(item.get<std::string>());
        return texts;
    }

    void complain(std::string message) {
        if (error.empty())
            error = std::move(message);
    }

private:
    const Json &object_;
};

bool is_blank(const std::string &text) { return text.find_first_not_of(" \t\n\v\f\r") == std::string::npos; }

// --- a reader per method ---

// OpenAI's way to name a schema; without a schema, any object is allowed.
const Json *schema_of_format(const Json &format, Parameters &parameters) {
    static const auto *any_object = new Json{{"type", "object"}};
    const std::string type =
        format.is_object() && format.contains("type") && format["type"].is_string() ? format["type"] : "";
    if (type == "json_object")
        return any_object;
    if (type == "json_schema" && format.contains("json_schema") && format["json_schema"].is_object() &&
        format["json_schema"].contains("schema"))
        return &format["json_schema"]["schema"];
    if (type != "text")
        parameters.complain("response_format is not supported: " + quoted(format));
    return nullptr;
}

// If several are given, the schema counts, else the regex, as in the original.
Constraint read_constraint(Parameters &parameters) {
    Constraint constraint;
    const Json *schema = parameters.find_value("schema");
    const Json *format = parameters.find_value("response_format");
    if (schema == nullptr && format != nullptr)
        schema = schema_of_format(*format, parameters);
    if (schema != nullptr) {
        constraint.kind = Constraint::Kind::Schema;
        constraint.text = core::constraint::write_json(*schema);
        if (constraint.text.size() > core::constraint::kMaxSchemaBytes)
            parameters.complain("schema must have at most " + std::to_string(core::constraint::kMaxSchemaBytes) +
                                " bytes");
    } else if (parameters.find_value("regex") != nullptr) {
        constraint.kind = Constraint::Kind::Regex;
        constraint.text = parameters.text("regex", "");
        if (constraint.text.size() > core::constraint::kMaxPatternBytes)
            parameters.complain("regex must have at most " + std::to_string(core::constraint::kMaxPatternBytes) +
                                " bytes");
    } else if (parameters.find_value("choices") != nullptr) {
        constraint.kind = Constraint::Kind::Choices;
        constraint.choices =
            parameters.texts("choices", "choices must be a list of strings", core::constraint::kMaxChoices);
        if (constraint.choices.empty())
            parameters.complain("choices must not be empty");
        if (std::any_of(constraint.choices.begin(), constraint.choices.end(),
                        [](const std::string &choice) { return choice.size() > core::constraint::kMaxChoiceBytes; }))
            parameters.complain("a choice must have at most " + std::to_string(core::constraint::kMaxChoiceBytes) +
                                " bytes");
    }
    return constraint;
}

// The boundary stands between two characters.
std::optional<std::size_t> read_prefix(const std::string &prompt, Parameters &parameters) {
    if (parameters.find_value("prefix_bytes") == nullptr)
        return std::nullopt;
    const auto size =
        static_cast<std::size_t>(parameters.integer("prefix_bytes", 0, 0, static_cast<long long>(prompt.size())));
    if (size < prompt.size() && (prompt[size] & 0xC0) == 0x80)
        parameters.complain("prefix_bytes must not cut a character");
    return size;
}

GenerateTask read_generation(Parameters &parameters) {
    GenerateTask task;
    task.constraint = read_constraint(parameters);
    task.prompt = parameters.text("prompt", "");
    task.prefix_bytes = read_prefix(task.prompt, parameters);
    task.scope = parameters.text("scope", "");
    if (task.scope.size() > kMaxScopeBytes)
        parameters.complain("scope must have at most " + std::to_string(kMaxScopeBytes) + " bytes");
    task.eos_string = parameters.text("eos_string", "[EOS]");
    if (task.eos_string == "[EOS]")  // stands for the model's own end
        task.eos_string.clear();
    if (task.eos_string.size() > kMaxStopBytes)
        parameters.complain("eos_string must have at most " + std::to_string(kMaxStopBytes) + " bytes");
    task.seed = parameters.seed();
    task.temperature = parameters.temperature();
    task.max_new_tokens = static_cast<int>(
        parameters.integer("max_new_tokens", kDefaultMaxNewTokens, 1, std::numeric_limits<int>::max()));
    return task;
}

void read_generate(Parameters &parameters, Request &request) {
    GenerateTask task = read_generation(parameters);
    if (parameters.flag("return_usage", false))
        request.form.kind = Form::Kind::Usage;
    else if (parameters.flag("return_logprobs", false))
        request.form.kind = Form::Kind::TextWithLogprobs;
    if (is_blank(task.prompt))
        request.task = Immediate{.result = "null", .error = ""};
    else
        request.task = std::move(task);
}

void read_generate_iter(Parameters &parameters, Request &request) {
    GenerateTask task = read_generation(parameters);
    task.stream = true;
    request.form.kind =
        parameters.flag("include_logprobs", false) ? Form::Kind::StreamWithLogprobs : Form::Kind::Stream;
    request.form.usage = parameters.flag("return_usage", false);
    request.form.acknowledged = parameters.flag("ack", true);
    if (is_blank(task.prompt))
        request.task = Immediate{.result = stream_end(), .error = ""};
    else
        request.task = std::move(task);
}

void read_embed(Parameters &parameters, Request &request) {
    parameters.seed();
    request.form.kind = Form::Kind::OneVector;
    request.form.usage = parameters.flag("return_usage", false);
    EmbedTask task;
    const Json *input = parameters.find("text_input");
    task.texts = parameters.texts("text_input", "Input text must be a string or list of strings");
    if (input == nullptr || task.texts.empty())
        parameters.complain("Input text must not be empty");
    request.task = std::move(task);
}

void read_embed_batch(Parameters &parameters, Request &request) {
    parameters.seed();
    request.form.kind = Form::Kind::Vectors;
    request.task = EmbedTask{.texts = parameters.texts("texts", "texts must be a list of strings")};
}

void read_rerank(Parameters &parameters, Request &request) {
    parameters.seed();
    RankTask task;
    task.instruction = parameters.text("task", kRankInstruction);
    task.query = parameters.text("query", "");
    task.documents = parameters.texts("documents", "documents must be a list of strings");
    request.form.kind = Form::Kind::Ranking;
    request.form.usage = parameters.flag("return_usage", false);
    request.form.scores = parameters.flag("return_scores", true);
    request.form.documents = task.documents;
    if (task.documents.empty())
        request.task = Immediate{.result = "[]", .error = ""};
    else
        request.task = std::move(task);
}

void read_count_tokens(Parameters &parameters, Request &request) {
    if (parameters.find_value("text") == nullptr)
        parameters.complain("text must be a string");
    request.form.kind = Form::Kind::Count;
    parameters.text("model", "");
    request.task = CountTask{.text = parameters.text("text", "")};
}

void read_cancel(Parameters &parameters, Request &request) {
    const Json *id = parameters.find("id");
    if (id == nullptr)
        parameters.complain("cancel needs the id of a request");
    else
        request.task = Cancel{core::constraint::write_json(*id)};  // no request has an id that is too long
}

struct Method {
    const char *name;
    void (*read)(Parameters &parameters, Request &request);
};

constexpr Method kMethods[] = {
    {"ping", [](Parameters &, Request &request) { request.task = Control::Ping; }},
    {"info", [](Parameters &, Request &request) { request.task = Control::Info; }},
    {"shutdown", [](Parameters &, Request &request) { request.task = Control::Shutdown; }},
    {"cancel", read_cancel},
    {"generate", read_generate},
    {"generate_iter", read_generate_iter},
    {"embed", read_embed},
    {"embed_batch", read_embed_batch},
    {"rerank", read_rerank},
    {"count_tokens", read_count_tokens},
};

void read_method(const std::string &name, const Json &parameters_json, Request &request) {
    const auto *method = std::find_if(std::begin(kMethods), std::end(kMethods),
                                      [&](const Method &candidate) { return name == candidate.name; });
    if (method == std::end(kMethods)) {
        request.task = Immediate{.result = "", .error = "Unknown method: " + name.substr(0, kMaxQuotedBytes)};
        return;
    }
    Parameters parameters(parameters_json);
    request.timeout =
        std::chrono::milliseconds(parameters.integer("timeout_ms", 0, 0, std::numeric_limits<int>::max()));
    const std::string priority = parameters.text("priority", "interactive");
    request.is_background = priority == "background";
    if (!request.is_background && priority != "interactive")
        parameters.complain("priority must be interactive or background");
    if (const Json *model = parameters.find_value("model"); model != nullptr && model->is_string())
        request.model = model->get<std::string>();
    method->read(parameters, request);
    if (!parameters.error.empty())
        request.task = Immediate{.result = "", .error = parameters.error};
}

}  // namespace

Request parse_request(std::string_view body) {
    Request request;
    request.task = Immediate{.result = "", .error = "Malformed request"};
    // The code below walks the tree by recursion, and searches an object's members one by one, so the shape
    // is limited first.
    if (core::shape_of(body, {kMaxDepth}) != core::JsonShape::Good)
        return request;
    Json message;
    if (!core::constraint::read_json(body, message))
        return request;
    if (message.is_object() && message.contains("id")) {
        std::string id = core::constraint::write_json(message["id"]);
        if (id.size() > kMaxIdBytes)
            return request;
        request.id = std::move(id);
    }
    const Json no_parameters = Json::object();
    const auto method = message.is_object() ? message.find("method") : message.end();
    const auto given = message.is_object() ? message.find("params") : message.end();
    const Json &parameters = given == message.end() || given->is_null() ? no_parameters : *given;
    if (method != message.end() && method->is_string() && parameters.is_object())
        read_method(method->get<std::string>(), parameters, request);
    return request;
}

std::vector<const char *> method_names() {
    std::vector<const char *> names;
    for (const Method &method : kMethods)
        names.push_back(method.name);
    return names;
}

EmbedTask as_embeddings(RankTask task) {
    task.documents.insert(task.documents.begin(), std::move(task.query));
    return {std::move(task.documents), true};
}

}  // namespace steadytext::daemon
