// Requests as OpenAI-compatible engines want them, and their answers read with distrust.
#include "src/core/openai.hpp"
#include "src/core/reply.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace {

using namespace steadytext::core;
using namespace steadytext::core::openai;
using nlohmann::json;
using Kind = Request::Kind;
using namespace std::string_literals;

Engine engine_at(const std::string &entry_text) {
    DaemonEntry entry;
    Problem problem;
    EXPECT_EQ(parse_daemon_list(entry_text, &entry, 1, problem), 1u);
    EXPECT_TRUE(entry.valid) << problem.message;
    return engine_of(entry);
}

const Engine kEngine = engine_at("http://localhost:8000/v1 model=qwen");

Request request_of(const std::string &method, const json &params, const Engine &engine = kEngine) {
    Request request;
    EXPECT_TRUE(read_request(json{{"method", method}, {"params", params}, {"id", "7"}}.dump(), engine, request));
    EXPECT_EQ(request.id, "7");
    return request;
}

const json kParams = {
    {"prompt", "h\u00e9llo \"x\"\n"}, {"seed", 42},       {"temperature", 0.5}, {"max_new_tokens", 16},
    {"eos_string", "[EOS]"},          {"model", nullptr}, {"size", nullptr},    {"return_usage", true}};

json with(json params, const json &more) {
    params.update(more);
    return params;
}

TEST(EngineOf, ReadsWhatThePathSays) {
    EXPECT_EQ(engine_at("http://localhost:8000/v1/").base, "/v1");
    EXPECT_EQ(engine_at("http://localhost:8000").base, "/v1") << "the usual place";
    EXPECT_EQ(engine_at("http://localhost:8000/api/v3").base, "/api/v3");
    const Engine embedder = engine_at("https://example.com/v1/embeddings");
    EXPECT_EQ(embedder.base, "/v1");
    EXPECT_TRUE(embedder.embeds());
    EXPECT_FALSE(embedder.generates());
    EXPECT_FALSE(engine_at("https://example.com/v1/chat/completions").embeds());
    EXPECT_EQ(engine_at("https://example.com/v1/chat/completions").api, Api::Chat);
    EXPECT_EQ(engine_at("https://example.com/v1/completions").api, Api::Completions);
}

TEST(Generate, IsAChatOfOneUserTurn) {
    const Request request = request_of("generate", kParams);
    EXPECT_EQ(request.kind, Kind::Generate);
    EXPECT_EQ(request.path, "/v1/chat/completions");
    EXPECT_EQ(json::parse(request.body), (json{{"model", "qwen"},
                                               {"messages", {{{"role", "user"}, {"content", kParams["prompt"]}}}},
                                               {"seed", 42},
                                               {"temperature", 0.5},
                                               {"max_tokens", 16}}));
}

TEST(Generate, IsACompletionWhereThePathSaysSo) {
    const Request request =
        request_of("generate", kParams, engine_at("http://localhost:8000/v1/completions model=base"));
    EXPECT_EQ(request.path, "/v1/completions");
    EXPECT_EQ(json::parse(request.body)["prompt"], kParams["prompt"]);
    EXPECT_FALSE(json::parse(request.body).contains("messages"));
}

TEST(Generate, StopsAtTheCallersEnd) {
    EXPECT_EQ(json::parse(request_of("generate", with(kParams, {{"eos_string", "END"}})).body)["stop"],
              json::array({"END"}));
}

TEST(Generate, IsBoundAsTheEngineCan) {
    const json schema = {{"type", "object"}, {"properties", {{"n", {{"type", "integer"}}}}}};
    const json body = json::parse(request_of("generate", with(kParams, {{"schema", schema}})).body);
    EXPECT_EQ(body["response_format"]["type"], "json_schema");
    EXPECT_EQ(body["response_format"]["json_schema"]["schema"], schema);
    EXPECT_EQ(
        json::parse(request_of("generate", with(kParams, {{"regex", "a\\d+"}})).body)["structured_outputs"]["regex"],
        "a\\d+");
    const json choices = {"yes", "no"};
    const Request chosen = request_of("generate", with(kParams, {{"choices", choices}}));
    EXPECT_EQ(json::parse(chosen.body)["structured_outputs"]["choice"], choices);
    EXPECT_EQ(json::parse(request_of("generate", with(kParams, {{"choices", {"yes", "a \"no\""}}})).body)["grammar"],
              "root ::= \"yes\" | \"a \\\"no\\\"\"");
    EXPECT_EQ(chosen.choices.size(), 2u);
}

// Whatever the reader of the message makes of it: an engine may know better, and the caller is told.
TEST(Generate, HandsTheSchemaOnAsItIs) {
    std::string deep = R"({"type": "integer"})";
    for (int i = 0; i < 150; i++)
        deep = R"({"properties": {"b": )" + deep + R"(, "a": {}}})";
    for (const std::string &schema :
         {std::string(R"({"type": "integer", "maximum": 100000000000000000000000000000000})"),
          std::string(R"({"const": 12345678901234567890123})"),
          std::string(R"({"maximum": 1)") + std::string(400, '0') + "}",
          std::string(R"({"b": 1.50, "a": "\"}, \"schema\": {"})"), deep}) {
        const std::string message = R"({"method": "generate", "params": {"prompt": "a \"schema\": {\\", "schema": )" +
                                    schema + R"(, "return_usage": true}, "id": "7"})";
        Request request;
        ASSERT_TRUE(read_request(message, kEngine, request)) << schema.substr(0, 100);
        EXPECT_EQ(request.id, "7");
        EXPECT_TRUE(request.return_usage);
        EXPECT_NE(request.body.find("\"schema\": " + schema + "}}"), std::string::npos) << request.body.substr(0, 300);
    }
}

TEST(Generate, GoesInTheDialectOfTheEntry) {
    const json body =
        json::parse(request_of("generate", with(kParams, {{"schema", {{"type", "integer"}}}, {"eos_string", "END"}}),
                               engine_at("https://x.com/v1 model=o1 max_tokens_param=max_completion_tokens "
                                         "omit=\"temperature,seed,stop\" strict=on"))
                        .body);
    EXPECT_EQ(body["max_completion_tokens"], 16);
    for (const char *name : {"max_tokens", "temperature", "seed", "stop"})
        EXPECT_FALSE(body.contains(name)) << name;
    EXPECT_EQ(body["response_format"]["json_schema"]["strict"], true);
    Engine engine = kEngine;
    engine.extra_body = R"({"seed": 7, "chat_template_kwargs": {"enable_thinking": false}})";
    const json extended = json::parse(request_of("generate", kParams, engine).body);
    EXPECT_EQ(extended["seed"], 7) << "instead of the caller's";
    EXPECT_EQ(extended["chat_template_kwargs"]["enable_thinking"], false);
    EXPECT_EQ(variant_of(engine).size(), 9U);
    EXPECT_EQ(engine_at("https://x.com/v1 model=m").variant, "") << "what says nothing of requests is in no key";
    EXPECT_NE(engine_at("https://x.com/v1 model=m prefix=a").variant,
              engine_at("https://x.com/v1 model=m prefix=b").variant);
    EXPECT_NE(engine_at("https://x.com/v1 model=m reasoning_tokens=10").variant, "");
    EXPECT_NE(engine_at("https://x.com/v1 model=m omit=seed").variant, "");
}

TEST(Learning, IsOfTheParameterThatTheAnswerNames) {
    Engine engine = kEngine;
    std::string lesson;
    const auto refusal = [](const char *name, const char *code) {
        return json{{"error", {{"message", "Unsupported: 'seed'"}, {"param", name}, {"code", code}}}}.dump();
    };
    const auto check = [&](const char *parameter = "") {
        return known_good_request(Request::Kind::Generate, "qwen", engine, parameter);
    };
    const Request first = check();
    EXPECT_TRUE(learn(engine, first, 400, refusal("max_tokens", "unsupported_parameter"), lesson));
    EXPECT_EQ(lesson, "model qwen takes max_completion_tokens, not max_tokens");
    lesson.clear();
    EXPECT_TRUE(learn(engine, first, 400, refusal("max_tokens", "unsupported_parameter"), lesson))
        << "made before it was known";
    EXPECT_EQ(lesson, "");
    EXPECT_TRUE(json::parse(request_of("generate", kParams, engine).body).contains("max_completion_tokens"));
    EXPECT_TRUE(learn(engine, check(), 400, refusal("temperature", "unsupported_value"), lesson));
    EXPECT_FALSE(json::parse(request_of("generate", kParams, engine).body).contains("temperature"));
    EXPECT_FALSE(learn(engine, check(), 400, refusal("temperature", "unsupported_value"), lesson)) << "once";
    EXPECT_FALSE(learn(engine, check(), 400, refusal("prompt", "unsupported_value"), lesson));
    EXPECT_FALSE(learn(engine, check(), 400, refusal("seed", "invalid_value").replace(12, 11, "it is wrong"), lesson))
        << "its value is the caller's affair";
    EXPECT_FALSE(learn(engine, check(), 400, R"({"error":{"message":"Unsupported parameter: 'seed'"}})", lesson))
        << "prose may quote a prompt";
    EXPECT_FALSE(learn(engine, check(), 500, refusal("seed", "unsupported_parameter"), lesson));
    EXPECT_TRUE(
        learn(engine, check(), 422,
              R"({"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted","type":"extra_forbidden"}]})",
              lesson));
    EXPECT_TRUE(
        json::parse(
            request_of("generate", with(kParams, {{"model", "other"}}), engine_at("http://localhost:1234/v1")).body)
            .contains("seed"))
        << "of another model nothing is known";
}

TEST(Learning, IsOfTheGatewaysOwnRequestAlone) {
    Engine engine = kEngine;
    std::string lesson;
    const std::string refusal = R"({"error": {"message": "no", "param": "seed", "code": "unsupported_parameter"}})";
    const Request asked = request_of("generate", kParams, engine);
    EXPECT_EQ(refused_parameter(asked, 400, refusal), "seed");
    EXPECT_FALSE(learn(engine, asked, 400, refusal, lesson)) << "a caller's text may have made it say so";
    EXPECT_FALSE(is_outdated(engine, asked));
    for (const char *parameter : {"temperature", "seed", "stop", "stream_options", "max_tokens"}) {
        const Request check = known_good_request(Request::Kind::Generate, "qwen", engine, parameter);
        EXPECT_TRUE(json::parse(check.body).contains(parameter)) << parameter;
        EXPECT_TRUE(check.is_check);
    }
    EXPECT_TRUE(json::parse(known_good_request(Request::Kind::Embed, "qwen", engine, "encoding_format").body)
                    .contains("encoding_format"));
}

TEST(Learning, KeepsWhatItsOwnModelsTaughtWhateverOthersAreNamed) {
    Engine engine = kEngine;
    std::string lesson;
    const std::string refusal = R"({"error": {"message": "no", "param": "seed", "code": "unsupported_parameter"}})";
    EXPECT_TRUE(learn(engine, known_good_request(Request::Kind::Generate, "qwen", engine), 400, refusal, lesson));
    for (int i = 0; i < 1000; i++)
        EXPECT_TRUE(learn(engine, known_good_request(Request::Kind::Generate, "named-" + std::to_string(i), engine),
                          400, refusal, lesson));
    EXPECT_EQ(lesson, "another model takes no seed") << "never a caller's words";
    EXPECT_LT(engine.learned.size(), 100U);
    EXPECT_NE(engine.dialect_of("qwen").omitted, 0);
    EXPECT_NE(engine.dialect_of("named-999").omitted, 0);
}

TEST(Model, IsTheEnginesOwnName) {
    EXPECT_EQ(request_of("generate", with(kParams, {{"model", "unknown"}})).model, "unknown")
        << "one it does not list is its own to refuse";
    EXPECT_EQ(request_of("generate", kParams, engine_at("http://localhost:8000/v1")).model, "") << "nobody said";
    const Engine remote = engine_at("https://example.com/v1 provider=openai model=gpt");
    EXPECT_EQ(request_of("generate", with(kParams, {{"model", "openai:gpt"}}), remote).model, "gpt");
    Engine several = engine_at("http://localhost:8000/v1");
    ASSERT_TRUE(read_models(R"({"object": "list", "data": [{"id": "a", "owned_by": "vllm"}, {"id": "b"}]})", several));
    EXPECT_EQ(several.owner, "vllm");
    EXPECT_EQ(request_of("generate", kParams, several).model, "a");
    EXPECT_EQ(request_of("generate", with(kParams, {{"model", "b"}}), several).model, "b");
}

TEST(Model, OfALongListIsKnownUpToABound) {
    const auto listing = [](std::size_t count) {
        json data = json::array();
        for (std::size_t i = 0; i < count; i++)
            data.push_back({{"id", "m" + std::to_string(i)}});
        return json{{"data", data}}.dump();
    };
    Engine proxy = engine_at("http://localhost:8000/v1");
    ASSERT_TRUE(read_models(listing(kMaxModels), proxy));
    EXPECT_EQ(proxy.models.size(), kMaxModels);
    EXPECT_FALSE(json::parse(info_reply("", proxy))["result"].contains("has_more_models"));
    ASSERT_TRUE(read_models(listing(kMaxModels + 1), proxy));
    EXPECT_EQ(proxy.models.size(), kMaxModels);
    EXPECT_TRUE(json::parse(info_reply("", proxy))["result"]["has_more_models"]) << "and that there are more is told";
    Engine given = engine_at("http://localhost:8000/v1 model=m0");
    ASSERT_TRUE(read_models(listing(kMaxModels + 1), given));
    EXPECT_FALSE(given.has_more_models) << "the entry named the one it is for";
}

TEST(Embed, SendsTextsBehindTheirPrefix) {
    const Engine engine = engine_at("http://localhost:8000/v1 model=bge prefix=\"query: \"");
    const Request request = request_of("embed_batch", {{"texts", {"a", "b"}}, {"model", nullptr}}, engine);
    EXPECT_EQ(request.path, "/v1/embeddings");
    EXPECT_EQ(request.texts, 2u);
    EXPECT_EQ(json::parse(request.body)["input"], (json{"query: a", "query: b"}));
    EXPECT_EQ(request_of("embed", {{"text_input", "a"}}).texts, 1u);
}

// Every escape stays what it was: a large prompt costs the gateway one copy of it.
TEST(Requests, HandTextsOnAsTheyAre) {
    const std::string texts[] = {R"("")",           R"("a")",    R"("\u0001\u0041\u00e9\ud83d\ude00\/")",
                                 R"("\\")",         R"("\\\"")", R"("\", \"texts\": [")",
                                 "\"\u00e9\u4e2d\""};
    Engine engine = engine_at("http://localhost:8000/v1 model=m");
    engine.prefix = "to \"find";
    const auto body_of = [&](const std::string &method, const std::string &params) {
        Request request;
        EXPECT_TRUE(read_request(R"({"method": ")" + method + R"(", "params": {)" + params + R"(}, "id": "7"})", engine,
                                 request))
            << params;
        EXPECT_EQ(request.id, "7") << params;
        EXPECT_TRUE(json::accept(request.body)) << request.body;
        return request.body;
    };
    const auto behind_prefix = [](const std::string &text) { return "\"to \\\"find" + text.substr(1); };
    for (const std::string &text : texts) {
        EXPECT_NE(body_of("generate", R"("seed": 1, "prompt": )" + text + R"(, "model": null)")
                      .find("\"content\": " + text + "}]"),
                  std::string::npos)
            << text;
        EXPECT_NE(body_of("embed", R"("text_input": )" + text).find("\"input\": [" + behind_prefix(text) + "]"),
                  std::string::npos)
            << text;
        EXPECT_NE(body_of("embed_batch", R"("model": null, "texts": [)" + text + ",\n" + text + "]")
                      .find("\"input\": [" + behind_prefix(text) + ", " + behind_prefix(text) + "]"),
                  std::string::npos)
            << text;
    }
}

TEST(Requests, ThatCannotBeServedAreRefused) {
    EXPECT_EQ(request_of("embed", {{"text_input", 5}}).kind, Kind::Refused);
    EXPECT_EQ(request_of("embed_batch", {{"texts", json::array()}}).kind, Kind::Refused);
    EXPECT_EQ(request_of("rerank", {{"query", "q"}}).refusal, "An OpenAI-compatible engine cannot rerank");
    EXPECT_EQ(request_of("generate", kParams, engine_at("http://localhost:8000/v1/embeddings")).kind, Kind::Refused);
    Request request;
    EXPECT_FALSE(read_request("garbage", kEngine, request));
    EXPECT_FALSE(read_request("{}", kEngine, request));
}

TEST(Requests, OfTheGatewayItself) {
    EXPECT_EQ(request_of("ping", json::object()).path, "/v1/models");
    EXPECT_EQ(request_of("cancel", {{"id", "5"}}).cancelled_id, "5");
    const json info = json::parse(info_reply("7", engine_at("http://localhost:8000/v1 model=qwen")));
    EXPECT_EQ(info["id"], "7");
    EXPECT_EQ(info["result"]["models"][0],
              (json{{"role", "generation"}, {"name", "qwen"}, {"fingerprint", "http:qwen"}}));
    EXPECT_EQ(info["result"]["models"].size(), 2u);
    EXPECT_EQ(info["result"]["capabilities"], json::array({"embed_batch"}));
    EXPECT_FALSE(
        json::parse(info_reply("7", engine_at("http://localhost:8000/v1 model=qwen batch=1")))["result"].contains(
            "capabilities"));
    const json remote = json::parse(info_reply(
        "7", engine_at("https://example.com/v1/chat/completions provider=openai model=gpt fingerprint=2026")));
    EXPECT_EQ(remote["result"]["models"],
              json::array({{{"role", "generation"}, {"name", "openai:gpt"}, {"fingerprint", "2026"}}}));
    EXPECT_FALSE(remote["result"].contains("capabilities"));
}

// As vLLM 0.6 to 0.11, llama-server and Ollama answer, cut to what matters.
constexpr const char *kChat =
    R"({"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"qwen","choices":[{"index":0,"message":
    {"role":"assistant","content":"h\u00e9llo","tool_calls":[]},"logprobs":null,"finish_reason":"length","stop_reason":null}],
    "usage":{"prompt_tokens":9,"total_tokens":11,"completion_tokens":2,"prompt_tokens_details":null},"prompt_logprobs":null})";
constexpr const char *kCompletion =
    R"({"object":"text_completion","choices":[{"index":0,"text":" text","finish_reason":"stop"}]})";

json answered(const Request &request, const char *body, const Engine &engine = kEngine) {
    const Reply reply = read_reply(request, engine, 200, body, 12.5);
    EXPECT_EQ(reply.verdict, Verdict::Answer) << reply.reason;
    EXPECT_TRUE(reply.message.starts_with("{\"id\": \"7\"")) << "as the gateway likes to find it";
    return json::parse(reply.message);
}

TEST(Reply, OfAChat) {
    const json reply = answered(request_of("generate", kParams), kChat);
    EXPECT_EQ(reply["error"], nullptr);
    EXPECT_EQ(reply["result"], (json{{"text", "h\u00e9llo"},
                                     {"finish_reason", "length"},
                                     {"model", "qwen"},
                                     {"fingerprint", "http:qwen"},
                                     {"engine_ms", 12.5},
                                     {"prompt_tokens", 9},
                                     {"completion_tokens", 2}}));
}

TEST(Reply, OfACompletionWithoutUsage) {
    EXPECT_EQ(answered(request_of("generate", with(kParams, {{"return_usage", false}})), kCompletion)["result"],
              " text");
    EXPECT_FALSE(answered(request_of("generate", kParams), kCompletion)["result"].contains("prompt_tokens"));
}

TEST(Reply, ThatSaysNothingIsAnEmptyTextOnlyIfItIsOne) {
    const Request request = request_of("generate", kParams);
    EXPECT_EQ(answered(request, R"({"choices":[{"message":{"content":""},"finish_reason":"stop"}]})")["result"]["text"],
              "");
    EXPECT_EQ(answered(request, R"({"choices":[{"text":"","finish_reason":"stop"}]})")["result"]["text"], "");
    EXPECT_EQ(answered(request, R"({"choices":[{"message":{"content":null}}]})")["error"], "the engine gave no text");
    EXPECT_EQ(
        answered(request,
                 R"({"choices":[{"message":{"content":" \n","reasoning_content":"hm"},"finish_reason":"length"}]})")
            ["error"],
        "reasoning used up max_tokens before an answer began");
    EXPECT_EQ(
        answered(request,
                 R"({"choices":[{"message":{"tool_calls":[{"id":"1"}]},"finish_reason":"tool_calls"}]})")["error"],
        "the model called a tool instead of answering");
    EXPECT_EQ(answered(request, R"({"choices":[{"message":{"content":null,"refusal":"no\u001b[31m"}}]})")["error"],
              "the model refused to answer: no [31m");
    EXPECT_EQ(answered(request, R"({"choices":[{"text":"","finish_reason":"content_filter"}]})")["error"],
              "the engine's content filter held the answer back");
}

TEST(Reply, TellsWhatTheModelThought) {
    const json reply =
        answered(request_of("generate", kParams),
                 R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],
        "reasoning":"so"},"finish_reason":"stop"}]})");
    EXPECT_EQ(reply["result"]["text"], "ab");
    EXPECT_EQ(reply["result"]["reasoning"], "so");
    EXPECT_EQ(
        json::parse(request_of("generate", kParams, engine_at("http://localhost:8000/v1 model=m reasoning_tokens=500"))
                        .body)["max_tokens"],
        516);
}

TEST(Reply, OutsideTheChoicesIsAnError) {
    EXPECT_NE(answered(request_of("generate", with(kParams, {{"choices", {"yes", "no"}}})), kChat)["error"], nullptr);
}

TEST(Reply, OfEmbeddingsInAnyOrder) {
    const Request request = request_of("embed_batch", {{"texts", {"a", "b"}}});
    const json reply = answered(
        request, R"({"object":"list","data":[{"index":1,"embedding":[0,-1e-3]},{"index":0,"embedding":[1.5,2]}],
        "model":"qwen","usage":{"prompt_tokens":4,"total_tokens":4}})");
    EXPECT_EQ(reply["result"], (json{{"embeddings", {{1.5, 2.0}, {0.0, -0.001}}},
                                     {"dimensions", 2},
                                     {"model", "qwen"},
                                     {"fingerprint", "http:qwen"},
                                     {"prompt_tokens", 4}}));
    EXPECT_EQ(answered(request_of("embed", {{"text_input", "a"}}), R"({"data":[{"embedding":[1,2]}]})")["result"],
              (json{1.0, 2.0}));
}

TEST(Reply, ThatIsNoneIsInvalid) {
    const Request generate = request_of("generate", kParams);
    const Request embed = request_of("embed_batch", {{"texts", {"a", "b"}}});
    for (const char *body : {"", "garbage", "[]", "{}", R"({"choices":[]})", R"({"choices":[{}]})",
                             R"({"choices":[{"message":{"content":5}}]})", "<html>"})
        EXPECT_EQ(read_reply(generate, kEngine, 200, body, 0).verdict, Verdict::Invalid) << body;
    for (const char *body :
         {"{}", R"({"data":[]})", R"({"data":[{"embedding":[1]}]})",
          R"({"data":[{"embedding":[1]},{"embedding":[1,2]}]})",
          R"({"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]})",
          R"({"data":[{"embedding":[1]},{"embedding":["x"]}]})",
          R"({"data":[{"embedding":[1]},{"index":9,"embedding":[1]}]})",
          R"({"data":[{"embedding":[]},{"embedding":[]}]})", R"({"data":[{"embedding":[1]},{"embedding":[1e300]}]})"})
        EXPECT_EQ(read_reply(embed, kEngine, 200, body, 0).verdict, Verdict::Invalid) << body;
    EXPECT_EQ(read_reply(generate, kEngine, 200, std::string(100'000, '['), 0).verdict, Verdict::Invalid);
}

TEST(Failure, OfTheCallerIsAnAnswer) {
    const Request request = request_of("generate", kParams);
    for (const char *body :
         {R"({"error":{"message":"too long","type":"BadRequestError","code":400}})", R"({"error":"too long"})",
          R"({"object":"error","message":"too long"})", R"({"detail":"too long"})"}) {
        const Reply reply = read_reply(request, kEngine, 400, body, 0);
        ASSERT_EQ(reply.verdict, Verdict::Answer);
        EXPECT_EQ(json::parse(reply.message)["error"], "too long");
    }
    EXPECT_EQ(json::parse(read_reply(request, kEngine, 400, "<html>", 0).message)["error"], "HTTP 400");
    EXPECT_EQ(
        json::parse(read_reply(request, kEngine, 400, "<html><style>x</style><p>not\n now</p>", 0).message)["error"],
        "not now");
    EXPECT_EQ(json::parse(read_reply(request, kEngine, 422,
                                     R"({"detail":[{"loc":["body","seed"],"msg":"wrong"},{"msg":"bad"}]})", 0)
                              .message)["error"],
              "body.seed: wrong; bad");
    EXPECT_EQ(json::parse(read_reply(request, kEngine, 400, R"([{"error":{"message":"google"}}])", 0).message)["error"],
              "google");
    EXPECT_EQ(read_reply(request, kEngine, 404, R"({"error":{"message":"no such model"}})", 0).verdict,
              Verdict::Answer);
}

TEST(Failure, WithoutWordsIsASuspicion) {
    const Request request = request_of("generate", kParams);
    for (const long status : {301L, 401L, 403L, 404L, 408L, 500L, 502L, 503L})
        EXPECT_EQ(read_reply(request, kEngine, status, "", 0).verdict, Verdict::Suspect) << status;
    EXPECT_EQ(json::parse(read_reply(request, kEngine, 403, R"({"error":{"message":"flagged"}})", 0).message)["error"],
              "the engine refuses this request (HTTP 403)")
        << "if it takes the key otherwise";
    EXPECT_EQ(read_reply(request, kEngine, 404, "404 page not found", 0).reason,
              "it answers HTTP 404: 404 page not found");
}

TEST(Failure, WithWordsIsASuspicion) {
    const Request request = request_of("generate", kParams);
    const Reply told = read_reply(request, kEngine, 500, R"({"error":{"message":"input is too large"}})", 0);
    EXPECT_EQ(told.verdict, Verdict::Suspect);
    EXPECT_EQ(json::parse(told.message)["error"], "input is too large") << "if the engine works otherwise";
    EXPECT_EQ(told.reason, "it answers HTTP 500: input is too large") << "if it does not";
    const Reply before = read_reply(request, kEngine, 502, "<html>Bad Gateway</html>", 0);
    EXPECT_EQ(before.verdict, Verdict::Suspect);
    EXPECT_EQ(before.message, "") << "it may be sent again";
    const Request check = known_good_request(Kind::Generate, "qwen", kEngine);
    EXPECT_EQ(check.path, "/v1/chat/completions");
    EXPECT_EQ(json::parse(check.body)["max_tokens"], 1);
    EXPECT_EQ(json::parse(known_good_request(Kind::EmbedBatch, "qwen", kEngine).body)["input"], json::array({"Hello"}));
}

TEST(Failure, ThatAsksToComeAgain) {
    const Request request = request_of("generate", kParams);
    EXPECT_EQ(read_reply(request, kEngine, 429, R"({"error":{"message":"slow down"}})", 0).verdict, Verdict::Busy);
    const Reply loading = read_reply(
        request, kEngine, 503, R"({"error":{"message":"Loading model","type":"unavailable_error","code":503}})", 0);
    EXPECT_EQ(loading.verdict, Verdict::Busy);
    EXPECT_TRUE(loading.is_loading);
    EXPECT_EQ(read_reply(request, kEngine, 503, "maintenance", 0, true).verdict, Verdict::Busy) << "it says when";
    EXPECT_EQ(read_reply(request, kEngine, 503, "maintenance", 0, false).verdict, Verdict::Suspect);
    for (const char *body : {R"({"error":{"message":"x","code":"insufficient_quota"}})",
                             R"({"error":{"message":"x","type":"insufficient_quota","code":429}})"})
        EXPECT_EQ(read_reply(request, kEngine, 429, body, 0).verdict, Verdict::Exhausted) << body;
}

TEST(Failure, WithHttp200IsWhatItsCodeSays) {
    const Request request = request_of("generate", kParams);
    const auto verdict = [&](const char *body) { return read_reply(request, kEngine, 200, body, 0).verdict; };
    EXPECT_EQ(verdict(R"({"error":{"message":"x","code":429}})"), Verdict::Busy);
    EXPECT_EQ(verdict(R"({"error":{"message":"x","code":"429"}})"), Verdict::Busy);
    EXPECT_EQ(verdict(R"({"error":{"message":"x","type":"server_error"}})"), Verdict::Suspect);
    EXPECT_EQ(verdict(R"({"error":{"message":"x","code":400}})"), Verdict::Answer);
    EXPECT_EQ(verdict(R"({"error":"x"})"), Verdict::Answer);
    EXPECT_EQ(answered(request, R"({"error":{"message":"in its words"}})")["error"], "in its words");
    EXPECT_EQ(answered(request, R"({"error":null,"choices":[{"message":{"content":"fine"}}]})")["result"]["text"],
              "fine");
}

TEST(Failure, OfWhatTheEngineIsNotForNarrowsIt) {
    Engine engine = kEngine;
    const Request embed = request_of("embed", {{"text_input", "a"}}), generate = request_of("generate", kParams);
    EXPECT_EQ(read_reply(embed, engine, 501, "", 0).verdict, Verdict::Unserved);
    for (const long status : {404L, 405L})
        EXPECT_EQ(read_reply(embed, engine, status, "page not found", 0).verdict, Verdict::Unserved) << status;
    EXPECT_EQ(read_reply(generate, engine, 404, "page not found", 0).verdict, Verdict::Suspect);
    EXPECT_EQ(read_reply(embed, engine, 404, R"({"error":{"message":"no such model"}})", 0).verdict, Verdict::Answer);
    narrow(engine, Request::Kind::Embed);
    EXPECT_TRUE(engine.generates());
    EXPECT_FALSE(engine.embeds());
    EXPECT_EQ(read_reply(embed, engine, 501, "", 0).verdict, Verdict::Unserved) << "asked before it was known";
    EXPECT_EQ(read_reply(generate, engine, 501, "", 0).verdict, Verdict::Suspect) << "or it would be asked for ever";
    narrow(engine, Request::Kind::Generate);
    EXPECT_TRUE(engine.generates());
}

TEST(Failure, NeverQuotesTheKey) {
    const Reply reply =
        read_reply(request_of("generate", kParams), kEngine, 401, R"({"error":{"message":"bad key sk-secret"}})", 0);
    EXPECT_EQ((reply.message + reply.reason).find("sk-secret"), std::string::npos);
}

// ---- streams: chunks as vLLM, llama-server and Ollama send them, cut to what matters ----

using Event = StreamReader::Event;

const Request kStreamed = request_of("generate_iter", kParams);

std::string chunk(const json &delta, const json &more = json::object()) {
    return json{{"object", "chat.completion.chunk"},
                {"choices", {with({{"index", 0}, {"delta", delta}, {"finish_reason", nullptr}}, more)}}}
        .dump();
}

// The result of the message that an event becomes; null if there is none.
json told(StreamReader &reader, const std::string &data, Event expected) {
    std::string message;
    EXPECT_EQ(reader.read(kStreamed, data, message), expected) << data;
    return expected == Event::Piece ? json::parse(message)["result"] : json();
}

TEST(Stream, IsAskedForWithItsCounts) {
    EXPECT_EQ(kStreamed.kind, Kind::Generate);
    EXPECT_TRUE(kStreamed.streams);
    const json body = json::parse(kStreamed.body);
    EXPECT_EQ(body["stream"], true);
    EXPECT_EQ(body["stream_options"], (json{{"include_usage", true}}));
    EXPECT_FALSE(json::parse(request_of("generate", kParams).body).contains("stream"));
}

TEST(Stream, OfAChatIsPiecesAndAnEnd) {
    StreamReader reader;
    told(reader, chunk({{"role", "assistant"}, {"content", ""}}), Event::Nothing);
    EXPECT_EQ(told(reader, chunk({{"content", "h\u00e9llo"}}), Event::Piece), (json{{"token", "h\u00e9llo"}}));
    EXPECT_EQ(told(reader, chunk({{"content", " \n"}}), Event::Piece), (json{{"token", " \n"}}))
        << "white space is text";
    told(reader, chunk({{"content", nullptr}, {"reasoning_content", "hm"}}), Event::Nothing);
    EXPECT_EQ(told(reader, chunk({{"content", "!"}}, {{"finish_reason", "length"}}), Event::Piece),
              (json{{"token", "!"}}));
    told(reader, R"({"choices": [], "usage": {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3}})",
         Event::Nothing);
    told(reader, "[DONE]", Event::Nothing);
    told(reader, "what comes after it is not looked at", Event::Nothing);
    const Reply end = reader.end(kStreamed, kEngine, 12.5);
    ASSERT_EQ(end.verdict, Verdict::Answer);
    EXPECT_EQ(json::parse(end.message), (json{{"id", "7"},
                                              {"error", nullptr},
                                              {"result",
                                               {{"token", "##STREAM_END##"},
                                                {"finish_reason", "length"},
                                                {"model", "qwen"},
                                                {"fingerprint", "http:qwen"},
                                                {"engine_ms", 12.5},
                                                {"prompt_tokens", 9},
                                                {"completion_tokens", 3}}}}));
}

TEST(Stream, OfACompletionHasItsTextElsewhere) {
    StreamReader reader;
    EXPECT_EQ(told(reader,
                   R"({"object": "text_completion", "choices": [{"index": 0, "text": " a", "finish_reason": null}]})",
                   Event::Piece),
              (json{{"token", " a"}}));
    told(reader, R"({"object": "text_completion", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})",
         Event::Nothing);
    EXPECT_EQ(reader.end(kStreamed, kEngine, 0).verdict, Verdict::Answer)
        << "it told why it ends, so it is whole without [DONE]";
}

TEST(Stream, TellsTheEnginesErrorInItsWords) {
    for (const char *data : {R"({"error": {"message": "out of memory", "code": 500}})", R"({"error": "out of memory"})",
                             R"({"object": "error", "message": "out of memory"})",
                             R"({"choices": [], "error": {"message": "out of memory"}})"}) {
        StreamReader reader;
        std::string message;
        told(reader, chunk({{"content", "a"}}), Event::Piece);
        EXPECT_EQ(reader.read(kStreamed, data, message), Event::Failed) << data;
        EXPECT_EQ(json::parse(reader.take_failure().message),
                  (json{{"id", "7"}, {"result", nullptr}, {"error", "out of memory"}}));
    }
    StreamReader reader;
    std::string message;
    EXPECT_EQ(reader.read(kStreamed, R"({"error": {"message": "slow down", "code": 429}})", message), Event::Failed);
    EXPECT_EQ(reader.take_failure().verdict, Verdict::Busy) << "nothing has come of it yet";
}

TEST(Stream, PassesOverWhatIsNoPartOfIt) {
    StreamReader reader;
    for (const char *data :
         {"", " ", "ping", "[]", "{}", R"({"type": "ping"})", R"({"choices": null, "usage": {"prompt_tokens": 9}})",
          R"({"usage": {"completion_tokens": 3}})", R"({"choices": []})", R"({"choices": [null]})",
          R"({"choices": [{"delta": null}]})", R"({"choices": [{"delta": {"content": null}}]})",
          R"({"object": "x.prompt_filter_results", "message": "fine"})"})
        told(reader, data, Event::Nothing);
    EXPECT_EQ(told(reader, chunk({{"content", "whole"}}, {{"finish_reason", "stop"}}), Event::Piece),
              (json{{"token", "whole"}}));
    told(reader, R"({"choices": null, "usage": {"prompt_tokens": 9, "completion_tokens": 3}})", Event::Nothing);
    told(reader, " [DONE]", Event::Nothing);
    EXPECT_TRUE(reader.is_done());
    const json end = json::parse(reader.end(kStreamed, kEngine, 0).message);
    EXPECT_EQ(end["result"]["completion_tokens"], 3);
    EXPECT_EQ(end["result"]["prompt_tokens"], 9);
}

TEST(Stream, WithoutATextIsNoAnswer) {
    StreamReader reader;
    told(reader, chunk({{"reasoning_content", "hm"}}), Event::Nothing);
    told(reader, chunk({{"content", nullptr}}, {{"finish_reason", "length"}}), Event::Nothing);
    EXPECT_EQ(json::parse(reader.end(kStreamed, kEngine, 0).message)["error"],
              "reasoning used up max_tokens before an answer began");
}

TEST(Stream, ThatComesAsAWholeIsAPieceAndAnEnd) {
    const Reply reply = read_reply(kStreamed, kEngine, 200, kChat, 1);
    EXPECT_EQ(json::parse(reply.piece)["result"]["token"], "h\u00e9llo");
    EXPECT_EQ(json::parse(reply.message)["result"]["token"], "##STREAM_END##");
}

TEST(Stream, ThatIsNoneIsInvalid) {
    for (const std::string &data :
         {std::string("{garbage"), chunk({{"content", 5}}), chunk({{"content", "a\0b"s}}),
          chunk({{"content", "##STREAM_END##"}}), std::string(R"({"choices": [{"delta": {"content": "\ud83d"}}]})")}) {
        StreamReader reader;
        told(reader, data, Event::Invalid);
    }
    EXPECT_EQ(StreamReader().end(kStreamed, kEngine, 0).verdict, Verdict::Invalid) << "nothing of a stream came at all";
}

TEST(Stream, ThatEndsInTheMiddleIsNoAnswer) {
    StreamReader reader;
    told(reader, chunk({{"content", "The answer is not"}}), Event::Piece);
    EXPECT_EQ(reader.end(kStreamed, kEngine, 0).verdict, Verdict::Suspect);
}

}  // namespace
