// Replies of daemons, read with distrust; parameters of functions, checked to the bound.
#include "src/core/reply.hpp"
#include "src/core/unit_vector.hpp"
#include "src/core/rules.hpp"
#include "src/core/utf8.hpp"

#include <cmath>
#include <gtest/gtest.h>

namespace {

using namespace steadytext::core;

// A message with the room behind it that the parser needs.
class Message {
public:
    explicit Message(std::string text) : size_(text.size()), text_(std::move(text)) {
        text_.append(PaddedText::kPadding, '\0');
    }
    operator PaddedText() const { return {std::string_view(text_).substr(0, size_)}; }  // NOLINT: meant to be implicit

private:
    std::size_t size_;
    std::string text_;
};

std::string id_of(std::string_view body) {
    std::string_view id;
    std::string storage;
    return envelope_id(body, id, storage) ? std::string(id) : "none";
}

TEST(EnvelopeId, IsFoundWhereverItStands) {
    EXPECT_EQ(id_of(R"({"id": "abc", "result": 1, "error": null})"), "abc");
    EXPECT_EQ(id_of(R"({"id":"abc"})"), "abc");
    EXPECT_EQ(id_of(R"({"result": {"id": "inner"}, "error": null, "id": "outer"})"), "outer");
    EXPECT_EQ(id_of(R"({"id": "a\u0062c"})"), "abc") << "unescaped";
}

// Reading through all of it would take long.
TEST(EnvelopeId, IsAtEitherEndOfALongMessage) {
    const std::string numbers = "[" + std::string(3 << 20, '1') + "]";
    EXPECT_EQ(id_of(R"({"id": "abc", "result": )" + numbers + "}"), "abc");
    EXPECT_EQ(id_of(R"({"result": )" + numbers + R"(, "error": null, "id": "abc"})"), "abc");
    EXPECT_EQ(id_of(R"({"result": )" + numbers + ",\n \"id\" :\t\"abc\" }\n"), "abc");
    EXPECT_EQ(id_of(R"({"result": )" + numbers + R"(, "id": "abc", "error": null})"), "none");
    EXPECT_EQ(id_of(R"({"result": {"a": )" + numbers + R"(, "id": "abc"}})"), "none") << "an inner object's";
    EXPECT_EQ(id_of(R"({"result": )" + numbers + R"(, "text": ",\"id\":\"abc"})"), "none") << "within a text";
    EXPECT_EQ(id_of(R"({"result": )" + numbers + R"(, "id": "a\u0062c"})"), "none");
    EXPECT_EQ(id_of(R"({"id": ")" + std::string(1000, 'a') + R"("})"), "none") << "longer than any of ours";
    EXPECT_EQ(id_of(std::string(3 << 20, ' ')), "none");
}

TEST(CountReply, IsANumberOfTokensOrNothing) {
    std::int32_t tokens = -1;
    Problem problem;
    EXPECT_TRUE(read_count_reply(Message(R"({"id": "a", "result": {"tokens": 7, "model": "m"}, "error": null})"),
                                 tokens, problem));
    EXPECT_EQ(tokens, 7);
    for (const char *bad : {R"({"tokens": -1})", R"({"tokens": 2147483648})", R"({"tokens": 1.5})",
                            R"({"tokens": "7"})", R"({})", "7", "null"}) {
        const std::string body = std::string(R"({"id": "a", "result": )") + bad + R"(, "error": null})";
        EXPECT_FALSE(read_count_reply(Message(body), tokens, problem)) << bad;
    }
}

TEST(EmbedReply, TellsWhatWasCut) {
    std::vector<float> vector;
    ReplyUsage usage;
    Problem problem;
    EXPECT_TRUE(read_embed_reply(Message(R"({"id": "a", "result": [1], "error": null, "usage": {"cut_tokens": 3}})"),
                                 vector, usage, problem));
    EXPECT_EQ(usage.cut_tokens, 3);
    EXPECT_TRUE(read_embed_reply(Message(R"({"id": "a", "result": [1], "error": null})"), vector, usage, problem));
    EXPECT_EQ(usage.cut_tokens, 0);
}

TEST(EnvelopeId, IsNoneWhereThereIsNone) {
    for (const char *bad : {"", "{", "garbage", "[]", R"({"id": null})", R"({"id": 5})", R"({"id": "cut)",
                            R"({"result": {"id": "inner"}})"})
        EXPECT_EQ(id_of(bad), "none") << bad;
}

TEST(GenerateReply, ReadsATextOrAnObject) {
    GenerateReply reply;
    Problem problem;
    ASSERT_TRUE(read_generate_reply(Message(R"({"id": "x", "result": "h\u00e9llo", "error": null})"), reply, problem));
    EXPECT_EQ(reply.text, "h\u00E9llo");
    EXPECT_EQ(reply.prompt_tokens, -1);
    ASSERT_TRUE(
        read_generate_reply(Message(R"({"id": "x", "result": {"text": "t", "prompt_tokens": 3, "completion_tokens": 4,
        "finish_reason": "eos", "engine_ms": 1.5, "model": "m", "fingerprint": "f"}, "error": null})"),
                            reply, problem));
    EXPECT_EQ(reply.text, "t");
    EXPECT_EQ(reply.completion_tokens, 4);
    EXPECT_EQ(reply.finish_reason, "eos");
    EXPECT_DOUBLE_EQ(reply.engine_ms, 1.5);
    ASSERT_TRUE(read_generate_reply(Message(R"({"result": null, "error": null})"), reply, problem));
    EXPECT_TRUE(reply.is_null);
}

TEST(GenerateReply, RefusesWhatIsNotOne) {
    std::string deep = R"({"result": )" + std::string(100, '[') + std::string(100, ']') + "}";
    for (const std::string &bad :
         {std::string("garbage"), std::string(), std::string(R"({"result": "cut)"), std::string(R"({"result": 5})"),
          std::string(R"({"result": ["a"]})"), std::string(R"({"error": null})"),
          std::string(R"({"result": "nul \u0000"})"), std::string("{\"result\": \"\xFF\"}"),
          std::string(R"({"result": NaN})"), std::string(R"({"result": "a"} trailing)"), deep,
          std::string(R"({"result": {"text": {"no": 1}}})")}) {
        GenerateReply reply;
        Problem problem;
        EXPECT_FALSE(read_generate_reply(Message(bad), reply, problem)) << bad;
        EXPECT_STREQ(problem.sqlstate, sqlstate::kProtocolViolation);
    }
}

TEST(GenerateReply, TellsADaemonsErrorFromABadReply) {
    GenerateReply reply;
    Problem problem;
    EXPECT_FALSE(
        read_generate_reply(Message(R"({"id": "x", "result": null, "error": "out of luck"})"), reply, problem));
    EXPECT_STREQ(problem.sqlstate, sqlstate::kExternalRoutineError);
    EXPECT_NE(std::string(problem.message).find("out of luck"), std::string::npos);
}

TEST(EmbedReply, ReadsNumbersAndNothingElse) {
    std::vector<float> vector;
    ReplyUsage usage;
    Problem problem;
    ASSERT_TRUE(read_embed_reply(Message(R"({"result": [1, -0.5, 2e-3], "error": null})"), vector, usage, problem));
    EXPECT_EQ(vector, (std::vector<float>{1, -0.5F, 2e-3F}));
    for (const char *bad : {R"({"result": []})", R"({"result": [1, "2"]})", R"({"result": [[1]]})",
                            R"({"result": [1e39]})", R"({"result": [NaN]})", R"({"result": [1, null]})",
                            R"({"result": {"0": 1}})", R"({"result": "1"})", "[1, 2]"}) {
        Problem bad_problem;
        EXPECT_FALSE(read_embed_reply(Message(bad), vector, usage, bad_problem)) << bad;
    }
}

TEST(ReplyUsage, IsWhatStandsBesideTheResult) {
    std::vector<float> vector;
    ReplyUsage usage;
    Problem problem;
    ASSERT_TRUE(read_embed_reply(Message(R"({"result": [1], "usage": {"prompt_tokens": 7, "engine_ms": 1.5}})"), vector,
                                 usage, problem));
    EXPECT_EQ(usage.prompt_tokens, 7);
    EXPECT_EQ(usage.engine_ms, 1.5);
    for (const char *untold : {R"({"result": [1]})", R"({"result": [1], "usage": 7})",
                               R"({"result": [1], "usage": {"engine_ms": -1, "prompt_tokens": 1e300}})"}) {
        ASSERT_TRUE(read_embed_reply(Message(untold), vector, usage, problem)) << untold;
        EXPECT_EQ(usage.prompt_tokens, -1) << untold;
        EXPECT_EQ(usage.engine_ms, -1) << untold;
    }
}

TEST(UnitVector, IsScaledOnce) {
    std::uint32_t state = 1;
    for (int n = 0; n < 1000; n++) {
        std::vector<float> vector(384);
        for (float &x : vector)
            x = static_cast<float>(static_cast<std::int32_t>(state = state * 1664525 + 1013904223)) / 1e9F;
        ASSERT_TRUE(make_unit(vector));
        const std::vector<float> once = vector;
        ASSERT_TRUE(make_unit(vector));
        ASSERT_EQ(vector, once);
    }
}

TEST(UnitVector, IsPaddedOrCutToTheWantedDimensions) {
    std::vector<float> vector = {3, 4};
    ASSERT_TRUE(make_unit(vector));
    EXPECT_FLOAT_EQ(vector[0], 0.6F);
    float longer[3];
    EXPECT_TRUE(fit_unit(vector, longer));
    EXPECT_EQ(longer[2], 0.0F);
    float shorter[1];
    EXPECT_TRUE(fit_unit(vector, shorter));
    EXPECT_FLOAT_EQ(shorter[0], 1.0F) << "cut, and of length 1 again";
    std::vector<float> zeros = {0, 0};
    EXPECT_FALSE(make_unit(zeros));
    const std::vector<float> late = {0, 0, 0, 1};
    EXPECT_FALSE(fit_unit(late, zeros)) << "what is cut was all of it";
}

StreamMessage stream_message(std::string message, std::string &piece) {
    const std::size_t size = message.size();
    message.append(PaddedText::kPadding, '\0');
    std::string_view found;
    const StreamMessage kind = read_stream_message({std::string_view(message).substr(0, size)}, found);
    piece = kind == StreamMessage::Piece ? std::string(found) : "";
    return kind;
}

TEST(Stream, TellsPiecesFromTheEndAndFromNonsense) {
    std::string piece;
    EXPECT_EQ(stream_message(R"({"id": "7", "result": {"token": " w\u00f6rd"}, "error": null})", piece),
              StreamMessage::Piece);
    EXPECT_EQ(piece, " w\u00f6rd");
    EXPECT_EQ(stream_message(R"({"id": "7", "result": {"token": "##STREAM_END##"}, "error": null})", piece),
              StreamMessage::End);
    EXPECT_EQ(stream_message(R"({"id": "7", "result": {"token": "x##STREAM_END##"}, "error": null})", piece),
              StreamMessage::Piece)
        << "a text that only contains the marker";
    EXPECT_EQ(stream_message(R"({"id": "7", "result": null, "error": "no"})", piece), StreamMessage::End);
    for (const char *nonsense :
         {"", "[]", R"({"id": "7"})", R"({"id": "7", "result": "text"})", R"({"id": "7", "result": {"token": 1}})",
          R"({"id": "7", "result": {"token": "a\u0000b"}})", "{\"result\": {\"token\": \"\xff\"}}"})
        EXPECT_EQ(stream_message(nonsense, piece), StreamMessage::Invalid) << nonsense;
}

TEST(Stream, ItsEndTellsOfTheWhole) {
    const auto read = [](std::string message, std::string_view text, GenerateReply &reply) {
        const std::size_t size = message.size();
        message.append(PaddedText::kPadding, '\0');
        Problem problem;
        return read_stream_end({std::string_view(message).substr(0, size)}, text, reply, problem);
    };
    GenerateReply reply;
    ASSERT_TRUE(read(
        R"({"id": "7", "result": {"token": "##STREAM_END##", "finish_reason": "length", "completion_tokens": 3}, "error": null})",
        "abc", reply));
    EXPECT_EQ(reply.text, "abc");
    EXPECT_EQ(reply.completion_tokens, 3);
    EXPECT_FALSE(reply.is_null);
    const char *bare = R"({"id": "7", "result": {"token": "##STREAM_END##"}, "error": null})";
    EXPECT_TRUE(read(bare, "", reply) && reply.is_null) << "no text and no word about it is no answer";
    EXPECT_TRUE(read(bare, "abc", reply) && !reply.is_null);
    EXPECT_FALSE(read(R"({"id": "7", "result": null, "error": "no"})", "abc", reply));
}

TEST(Utf8, APrefixCutsNoCharacter) {
    EXPECT_EQ(utf8_prefix("abc", 3), "abc");
    EXPECT_EQ(utf8_prefix("a\u20acb", 4), "a\u20ac");
    EXPECT_EQ(utf8_prefix("a\u20acb", 3), "a");
    EXPECT_EQ(utf8_prefix("a\u20acb", 2), "a");
    EXPECT_EQ(utf8_prefix("\U0001F642\U0001F642", 7), "\U0001F642");
}

TEST(Rules, KnowsBlankAsPythonDoes) {
    for (const char *blank : {"", " ", "\t\n\r\v\f", "\u00A0\u2003\u3000", "\x1C"})
        EXPECT_TRUE(is_blank(blank));
    for (const char *text : {"x", " x ", "\u200B", "\uFEFF"})
        EXPECT_FALSE(is_blank(text));
}

}  // namespace
