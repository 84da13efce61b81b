// Requests of several sessions in one message, and its answer in parts (src/core/embed_texts.hpp).
#include "src/core/embed_texts.hpp"

#include <gtest/gtest.h>

namespace steadytext::core {
namespace {

std::string params_of(std::string_view text, std::string_view model = "") {
    std::string params;
    write_embed_params(text, 42, model, params);
    return params;
}

TEST(EmbedTexts, TakesTheTextOutOfWhatItWrote) {
    for (const char *text : {"plain", "a \"quoted\" one", "ends in \\", "\\\"", "größer\n", ""}) {
        std::string_view found, rest;
        const std::string params = params_of(text, "m");
        ASSERT_TRUE(split_embed_params(params, found, rest)) << params;
        EXPECT_EQ(rest, ", \"seed\": 42, \"model\": \"m\", \"return_usage\": true}");
        EXPECT_EQ(std::string("{\"text_input\": ").append(found).append(rest), params);
    }
}

TEST(EmbedTexts, RefusesOtherParams) {
    std::string_view text, rest;
    for (const char *params : {"", "{}", "{\"text_input\": ", "{\"text_input\": 1}", "{\"text_input\": \"open",
                               "{\"text_input\": \"open\\", "{\"prompt\": \"x\"}"})
        EXPECT_FALSE(split_embed_params(params, text, rest)) << params;
}

TEST(EmbedTexts, JoinsTexts) {
    const std::string texts[] = {"\"a\"", "\"b \\\" c\""};
    std::string params;
    join_embed_params(texts, ", \"seed\": 42, \"model\": null}", params);
    EXPECT_EQ(params, "{\"texts\": [\"a\", \"b \\\" c\"], \"seed\": 42, \"model\": null}");
}

TEST(EmbedTexts, SplitsAnAnswerIntoRows) {
    std::vector<std::string_view> rows;
    ASSERT_TRUE(split_embed_batch_reply(
        R"({"id": "x", "result": {"embeddings": [[1, -0.5e-3], [2]], "model": "m"}, "error": null})", 2, rows));
    EXPECT_EQ(rows, (std::vector<std::string_view>{"[1, -0.5e-3]", "[2]"}));
    ASSERT_TRUE(split_embed_batch_reply(
        "{\"error\":null,\"result\":{\"model\":\"m\",\"embeddings\":[ [0.1] ,\n[0.2] ]}}", 2, rows));
    EXPECT_EQ(rows[1], "[0.2]");
}

TEST(EmbedTexts, RefusesAnswersOfAnotherShape) {
    std::vector<std::string_view> rows;
    for (const char *body : {"", "{}", R"({"id": "x", "result": null, "error": "no"})", R"({"result": [[1], [2]]})",
                             R"({"result": {"embeddings": [[1]]}})", R"({"result": {"embeddings": [[1], [2], [3]]}})",
                             R"({"result": {"embeddings": [[1], "2"]}})", R"({"result": {"embeddings": [[1], [[2]]]}})",
                             R"({"result": {"embeddings": [[1], [2})", R"({"result": {"embeddings": [[1] [2]]}})",
                             R"({"result": {"embeddings": [[NaN], [2]]}})", R"({"result": {"embeddings": 7}})"})
        EXPECT_FALSE(split_embed_batch_reply(body, 2, rows)) << body;
}

}  // namespace
}  // namespace steadytext::core
