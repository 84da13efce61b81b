// From the gateway's request to the body an engine gets. Regime: see openai.hpp.
#include "src/core/openai_json.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::string_view kModelsOwnEos = "[EOS]";  // what the wire protocol calls the model's own end

std::string as_json(std::string_view text) {
    std::string out;
    append_json_string(out, text, Escape::Utf8);
    return out;
}

std::string array_of(const std::vector<std::string> &texts, const std::string &prefix = {}) {
    std::string out = "[";
    for (const std::string &text : texts)
        out.append(out.size() > 1 ? ", " : "").append(as_json(prefix + text));
    return out += ']';
}

// An object whose members are JSON already.
class Body {
public:
    void add(std::string_view name, std::string_view json) {
        text_.append(text_.empty() ? "{" : ", ").append(as_json(name)).append(": ").append(json);
    }
    [[nodiscard]] std::string close() { return std::move(text_ += "}"); }

private:
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

// The model's name as the engine knows it: what stands behind "provider:", or one it serves, or its default.
std::string model_for(std::string_view named, const Engine &engine) {
    if (!engine.provider.empty() && named.starts_with(engine.provider + ":"))
        return std::string(named.substr(engine.provider.size() + 1));
    const bool served = std::find(engine.models.begin(), engine.models.end(), named) != engine.models.end();
    return served || engine.models.empty() ? std::string(named) : engine.models.front();
}

// Choices as a grammar of llama.cpp's.
std::string grammar_of(const std::vector<std::string> &choices) {
    std::string grammar = "root ::= ";
    for (const std::string &choice : choices)
        grammar.append(&choice == &choices.front() ? "" : " | ").append(as_json(choice));
    return grammar;
}

// What binds the answer. OpenAI has a name for schemas alone; vLLM calls the others structured_outputs, and guided_* in
// older versions; llama-server knows grammars. Engines refuse what they do not know, or ignore it: so choices are checked in the answer.
void add_constraint(Body &body, dom::element params, Request &request) {
    dom::element schema;
    if (params["schema"].get(schema) == simdjson::SUCCESS && schema.is_object()) {
        body.add("response_format", R"({"type": "json_schema", "json_schema": {"name": "answer", "schema": )" +
                                        std::string(simdjson::minify(schema)) + "}}");
    } else if (const std::string_view regex = text_of(params, "regex"); !regex.empty()) {
        body.add("structured_outputs", "{\"regex\": " + as_json(regex) + "}");
        body.add("guided_regex", as_json(regex));
    } else if (read_texts(params, "choices", request.choices)) {
        body.add("structured_outputs", "{\"choice\": " + array_of(request.choices) + "}");
        body.add("guided_choice", array_of(request.choices));
        body.add("grammar", as_json(grammar_of(request.choices)));
    }
}

void write_generate(dom::element params, const Engine &engine, Request &request) {
    bool usage = false;
    request.return_usage = params["return_usage"].get(usage) == simdjson::SUCCESS && usage;
    const std::string prompt = as_json(text_of(params, "prompt"));
    Body body;
    body.add("model", as_json(request.model));
    if (engine.api == Api::Completions) {
        request.path = engine.base + "/completions";
        body.add("prompt", prompt);
    } else {
        request.path = engine.base + "/chat/completions";
        body.add("messages", "[{\"role\": \"user\", \"content\": " + prompt + "}]");
    }
    add_number(body, "seed", params, "seed");
    add_number(body, "temperature", params, "temperature");
    add_number(body, "max_tokens", params, "max_new_tokens");
    if (const std::string_view eos = text_of(params, "eos_string"); !eos.empty() && eos != kModelsOwnEos)
        body.add("stop", array_of({std::string(eos)}));
    add_constraint(body, params, request);
    if (request.streams) {
        body.add("stream", "true");
        body.add("stream_options", R"({"include_usage": true})");
    }
    request.body = body.close();
}

bool write_embed(dom::element params, const char *key, const Engine &engine, Request &request) {
    std::vector<std::string> texts;
    if (!read_texts(params, key, texts))
        return false;
    request.path = engine.base + "/embeddings";
    request.texts = texts.size();
    Body body;
    body.add("model", as_json(request.model));
    body.add("input", array_of(texts, engine.prefix));
    body.add("encoding_format", as_json("float"));
    request.body = body.close();
    return true;
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
    if (!document.parse(message) || document.root["params"].get(params) != simdjson::SUCCESS || !params.is_object())
        return false;
    request = Request{};
    request.id = text_of(document.root, "id");
    request.model = model_for(text_of(params, "model"), engine);
    const std::string_view method = text_of(document.root, "method");
    if ((method == "generate" || method == "generate_iter") && engine.generates()) {
        request.kind = Kind::Generate;
        request.streams = method == "generate_iter";
        write_generate(params, engine, request);
    } else if ((method == "embed" || method == "embed_batch") && engine.embeds()) {
        request.kind = method == "embed" ? Kind::Embed : Kind::EmbedBatch;
        const bool good = write_embed(params, method == "embed" ? "text_input" : "texts", engine, request);
        if (!good || (method == "embed" && request.texts != 1))
            refuse(request, method == "embed" ? "Input text must be a string" : "Texts must be a list of strings");
    } else if (method == "ping") {
        request.kind = Kind::Ping;
        request.path = engine.base + "/models";
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

}  // namespace steadytext::core::openai
