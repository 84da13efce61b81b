// Turns the gateway's request into the body that an engine gets. Regime: see openai.hpp.
#include "src/core/json_member.hpp"
#include "src/core/openai_json.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::string_view kModelsOwnEos = "[EOS]";  // the wire protocol's name for the model's own end

std::string as_json(std::string_view text) {
    std::string out;
    append_json_string(out, text, Escape::Utf8);
    return out;
}

std::string array_of(const std::vector<std::string> &texts) {
    std::string out = "[";
    for (const std::string &text : texts)
        out.append(out.size() > 1 ? ", " : "").append(as_json(text));
    return out += ']';
}

// An object in the engine's dialect, from members that are JSON already: some members are left out, and members of
// extra_body replace members of the same name.
class Body {
public:
    Body(const Engine &engine, const Dialect &dialect, std::size_t bytes) : dialect_(dialect) {
        text_.reserve(bytes);
        if (!engine.extra_body.empty() && extra_.parse(engine.extra_body) &&
            extra_.root.get(members_) == simdjson::SUCCESS)
            has_extra_ = true;
    }
    void add(std::string_view name, std::string_view json) { add(name, {json}); }
    // In parts, so that a large value is copied once.
    void add(std::string_view name, std::initializer_list<std::string_view> json) {
        dom::element other;
        const auto *found = std::find(std::begin(kOmittable), std::end(kOmittable), name);
        const bool is_omitted =
            found != std::end(kOmittable) && (dialect_.omitted >> (found - std::begin(kOmittable)) & 1) != 0;
        if (!is_omitted && (!has_extra_ || members_[name].get(other) != simdjson::SUCCESS))
            put(name, json);
    }
    [[nodiscard]] std::string close() {
        if (has_extra_)
            for (const auto member : members_)
                put(member.key, {std::string(simdjson::minify(member.value))});
        return std::move(text_ += "}");
    }

private:
    void put(std::string_view name, std::initializer_list<std::string_view> json) {
        text_.append(text_.empty() ? "{" : ", ").append(as_json(name)).append(": ");
        for (const std::string_view part : json)
            text_.append(part);
    }

    const Dialect &dialect_;
    Document extra_;
    dom::object members_;
    bool has_extra_ = false;
    std::string text_;
};

// A text, or an array of texts; false for anything else.
bool read_texts(dom::element params, const char *key, std::vector<std::string> &texts) {
    dom::element value;
    if (params[key].get(value) != simdjson::SUCCESS)
        return false;
    std::string_view text;
    dom::array array;
    if (value.get(text) == simdjson::SUCCESS) {
        texts.emplace_back(text);
        return true;
    }
    if (value.get(array) != simdjson::SUCCESS)
        return false;
    for (const dom::element item : array) {
        if (item.get(text) != simdjson::SUCCESS)
            return false;
        texts.emplace_back(text);
    }
    return !texts.empty();
}

void add_number(Body &body, std::string_view name, dom::element params, const char *key) {
    dom::element value;
    if (params[key].get(value) == simdjson::SUCCESS && value.is_number())
        body.add(name, std::string(simdjson::minify(value)));
}

// The model's name as the engine knows it: the part after "provider:", or the given name, known or not; without a name,
// the engine's default.
std::string model_for(std::string_view named, const Engine &engine) {
    if (!engine.provider.empty() && named.starts_with(engine.provider + ":"))
        return std::string(named.substr(engine.provider.size() + 1));
    return !named.empty() || engine.models.empty() ? std::string(named) : engine.models.front();
}

// Choices as a grammar of llama.cpp.
std::string grammar_of(const std::vector<std::string> &choices) {
    std::string grammar = "root ::= ";
    for (const std::string &choice : choices)
        grammar.append(&choice == &choices.front() ? "" : " | ").append(as_json(choice));
    return grammar;
}

// The members that constrain the answer. OpenAI only has a name for schemas. vLLM calls the others structured_outputs,
// and guided_* in older versions; llama-server knows grammars. Engines refuse or ignore members that they do not know,
// so choices are checked in the answer.
void add_constraint(Body &body, dom::element params, std::string_view schema, const Engine &engine, Request &request) {
    if (schema.starts_with('{')) {
        body.add("response_format", std::string(R"({"type": "json_schema", "json_schema": {"name": "answer", )") +
                                        (engine.strict ? R"("strict": true, )" : "") + R"("schema": )" +
                                        std::string(schema) + "}}");
    } else if (const std::string_view regex = text_of(params, "regex"); !regex.empty()) {
        body.add("structured_outputs", "{\"regex\": " + as_json(regex) + "}");
        body.add("guided_regex", as_json(regex));
    } else if (read_texts(params, "choices", request.choices)) {
        body.add("structured_outputs", "{\"choice\": " + array_of(request.choices) + "}");
        body.add("guided_choice", array_of(request.choices));
        body.add("grammar", as_json(grammar_of(request.choices)));
    }
}

// The members of the params that are passed on unchanged, as JSON; empty: there is no such member. A schema may have
// longer numbers, and nest deeper, than the reader of the message supports. A prompt may be megabytes: to unescape and
// escape it again would keep the others that the gateway serves waiting.
struct Untouched {
    std::string_view schema, prompt, text_input, texts;
};

constexpr std::size_t kRoom = 1024;  // for the members beside them

bool is_string(std::string_view json) { return json.starts_with('"'); }

void write_generate(dom::element params, const Untouched &untouched, const Engine &engine, Request &request) {
    bool usage = false;
    request.return_usage = params["return_usage"].get(usage) == simdjson::SUCCESS && usage;
    const std::string_view prompt = is_string(untouched.prompt) ? untouched.prompt : R"("")";
    Body body(engine, request.dialect, prompt.size() + untouched.schema.size() + kRoom);
    body.add("model", as_json(request.model));
    if (engine.api == Api::Completions) {
        request.path = engine.path_to("/completions");
        body.add("prompt", prompt);
    } else {
        request.path = engine.path_to("/chat/completions");
        body.add("messages", {R"([{"role": "user", "content": )", prompt, "}]"});
    }
    add_number(body, "seed", params, "seed");
    add_number(body, "temperature", params, "temperature");
    // Reasoning counts against the limit of tokens that the model may write.
    if (std::int64_t most; params["max_new_tokens"].get(most) == simdjson::SUCCESS) {
        request.most_tokens = most + engine.reasoning_tokens;
        body.add(request.dialect.max_tokens, std::to_string(request.most_tokens));
    }
    if (const std::string_view eos = text_of(params, "eos_string"); !eos.empty() && eos != kModelsOwnEos)
        body.add("stop", array_of({std::string(eos)}));
    add_constraint(body, params, untouched.schema, engine, request);
    if (request.streams) {
        body.add("stream", "true");
        body.add("stream_options", R"({"include_usage": true})");
    }
    request.body = body.close();
}

bool write_embed(std::string_view json, const Engine &engine, Request &request) {
    std::vector<std::string_view> texts;
    if (is_string(json))
        texts.push_back(json);
    else if (!json_strings(json, texts))
        return false;
    request.path = engine.path_to("/embeddings");
    request.texts = texts.size();
    const std::string prefix = as_json(engine.prefix);  // and its quotes: the last quote is the text's
    std::string input = "[";
    input.reserve(json.size() + texts.size() * (prefix.size() + 2) + 2);
    for (const std::string_view text : texts)
        input.append(input.size() > 1 ? ", " : "").append(prefix, 0, prefix.size() - 1).append(text.substr(1));
    Body body(engine, request.dialect, input.size() + kRoom);
    body.add("model", as_json(request.model));
    body.add("input", {input, "]"});
    body.add("encoding_format", as_json("float"));
    request.body = body.close();
    return true;
}

// `rest` is the message with null in their places.
Untouched take_untouched(std::string_view message, std::string &rest) {
    Untouched taken;
    const std::pair<std::string_view, std::string_view *> wanted[] = {{"schema", &taken.schema},
                                                                      {"prompt", &taken.prompt},
                                                                      {"text_input", &taken.text_input},
                                                                      {"texts", &taken.texts}};
    json_members(json_member(message, "params"), wanted);
    std::vector<std::string_view> found;
    for (const auto &[name, value] : wanted)
        if (!value->empty())
            found.push_back(*value);
    std::sort(found.begin(), found.end(), [](std::string_view a, std::string_view b) { return a.data() < b.data(); });
    std::size_t from = 0;
    for (const std::string_view value : found) {
        const auto at = static_cast<std::size_t>(value.data() - message.data());
        rest.append(message.substr(from, at - from)).append("null");
        from = at + value.size();
    }
    rest.append(message.substr(from));
    return taken;
}

void refuse(Request &request, std::string why) {
    request.kind = Request::Kind::Refused;
    request.refusal = std::move(why);
}

}  // namespace

bool read_request(std::string_view message, const Engine &engine, Request &request) {
    using Kind = Request::Kind;
    Document document;
    dom::element params;
    std::string rest;
    const Untouched untouched = take_untouched(message, rest);
    if (!document.parse(rest) || document.root["params"].get(params) != simdjson::SUCCESS || !params.is_object())
        return false;
    request = Request{};
    request.id = text_of(document.root, "id");
    request.secrets = engine.secrets;
    request.model = model_for(text_of(params, "model"), engine);
    request.dialect = engine.dialect_of(request.model);
    const std::string_view method = text_of(document.root, "method");
    if ((method == "generate" || method == "generate_iter") && engine.generates()) {
        request.kind = Kind::Generate;
        request.streams = method == "generate_iter";
        write_generate(params, untouched, engine, request);
    } else if ((method == "embed" || method == "embed_batch") && engine.embeds()) {
        request.kind = method == "embed" ? Kind::Embed : Kind::EmbedBatch;
        const bool good = write_embed(method == "embed" ? untouched.text_input : untouched.texts, engine, request);
        if (!good || (method == "embed" && request.texts != 1))
            refuse(request, method == "embed" ? "Input text must be a string" : "Texts must be a list of strings");
    } else if (method == "ping") {
        request.kind = Kind::Ping;
        request.path = engine.path_to("/models");
    } else if (method == "info") {
        request.kind = Kind::Info;
    } else if (method == "cancel") {
        request.kind = Kind::Cancel;
        request.cancelled_id = text_of(params, "id");
    } else if (method == "rerank") {
        refuse(request, "An OpenAI-compatible engine cannot rerank");
    } else {
        refuse(request, "Unknown method: " + std::string(method));
    }
    return true;
}

Request known_good_request(Request::Kind kind, const std::string &model, const Engine &engine,
                           std::string_view parameter) {
    const bool generates = kind == Request::Kind::Generate;
    std::string message = "{\"id\": \"\", \"method\": ";
    message += !generates                      ? R"("embed", "params": {"text_input": "Hello")"
               : parameter == "stream_options" ? R"("generate_iter", "params": {"prompt": "Hello")"
                                               : R"("generate", "params": {"prompt": "Hello")";
    if (generates)
        message += R"(, "seed": 0, "temperature": 0, "max_new_tokens": 1)";
    if (parameter == "stop")
        message += R"(, "eos_string": "END")";
    message.append(", \"model\": ").append(as_json(model)).append("}}");
    Engine only = engine;
    only.provider.clear();
    only.models = {model};
    Request request;
    (void)read_request(message, only, request);
    request.is_check = true;
    return request;
}

}  // namespace steadytext::core::openai
