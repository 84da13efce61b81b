// What a daemon says of itself: read whole where it is right, and left out member by member where it is not.
#include "shmem/daemon_table.hpp"
#include "src/core/daemon_info.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace {

using namespace steadytext::core;
using steadytext::shmem::DaemonIdentity;
using steadytext::shmem::DaemonTable;

constexpr InfoLimits kLimits{127, 79};

const std::string kModel = R"({"role": "embedding", "name": "minilm", "fingerprint": "fp:1", "dimensions": 384})";

std::string reply(const std::string &members) {
    return R"({"id": "control-1", "result": {)" + members + R"(}, "error": null})";
}

TEST(DaemonInfo, ReadsWhatIsTold) {
    DaemonInfo info;
    ASSERT_TRUE(
        read_daemon_info(reply(R"("name": "steadytextd", "version": "1.2", "slots": 16, "resident_bytes": 1048576,
                                          "capabilities": ["ping", "embed_batch", "count_tokens", "priority"], "models": [)" +
                               kModel + "]"),
                         kLimits, info));
    EXPECT_EQ(info.name, "steadytextd");
    EXPECT_EQ(info.version, "1.2");
    EXPECT_EQ(info.slots, 16U);
    EXPECT_EQ(info.resident_bytes, 1048576U);
    EXPECT_TRUE(info.embeds_batches);
    EXPECT_TRUE(info.counts_tokens);
    EXPECT_TRUE(info.knows_priority);
    ASSERT_EQ(info.models.size(), 1U);
    EXPECT_EQ(info.models[0].role, ToldRole::Embedding);
    EXPECT_EQ(info.models[0].name, "minilm");
    EXPECT_EQ(info.models[0].fingerprint, "fp:1");
    EXPECT_EQ(info.models[0].dimensions, 384);
    EXPECT_FALSE(info.is_loading);
    ASSERT_TRUE(read_daemon_info(reply(R"("state": "loading")"), kLimits, info));
    EXPECT_TRUE(info.is_loading);
    ASSERT_TRUE(read_daemon_info(
        reply(R"("name": "steadytextd", "slots": 16, "resident_bytes": 1048576, "state": "ready", "models": [)" +
              kModel + "]"),
        kLimits, info));
    EXPECT_FALSE(info.is_loading);
}

TEST(DaemonInfo, IsNoneWithoutAResultOfMembers) {
    DaemonInfo info;
    for (const std::string &body :
         {std::string(), std::string("[]"), std::string("null"), std::string("{"),
          std::string(R"({"error": "Unknown method: info"})"), std::string(R"({"result": null})"),
          std::string(R"({"result": 5})"), std::string(R"({"result": []})"), std::string(R"({"result": NaN})"),
          R"({"result": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
          reply(R"("name": ")" + std::string(kMaxInfoBytes, 'x') + '"'),
          std::string("{\"result\": {\"name\": \"\xff\"}}")})
        EXPECT_FALSE(read_daemon_info(body, kLimits, info)) << body.substr(0, 80);
}

// Every member as everything it should not be: what is wrong is untold, what is beside it stands.
TEST(DaemonInfo, AWrongMemberCostsItselfOnly) {
    const std::string deep = std::string(50, '[') + std::string(50, ']');
    const std::string wrong[] = {"null",
                                 "true",
                                 "-1",
                                 "5",
                                 "1.5",
                                 "1e308",
                                 "18446744073709551615",
                                 std::string(400, '9'),
                                 "\"5\"",
                                 "\"\"",
                                 "[]",
                                 "[[]]",
                                 "[5]",
                                 "[null]",
                                 "{}",
                                 R"({"role": 5})",
                                 R"([{"role": 5}])",
                                 R"([{"role": []}])",
                                 R"([{"role": "embedding", "name": 5, "fingerprint": {}, "dimensions": "x"}])",
                                 deep,
                                 '"' + std::string(70'000, 'x') + '"',
                                 R"("a\nb")",
                                 R"("a\u0000b")",
                                 "[" + deep + "]"};
    for (const char *member : {"name", "version", "slots", "resident_bytes", "capabilities", "models", "protocol"}) {
        for (const std::string &value : wrong) {
            DaemonInfo info;
            const std::string body =
                reply("\"" + std::string(member) + "\": " + value + R"(, "beside": 1, "determinism": )" + value);
            if (!read_daemon_info(body, kLimits, info))
                continue;  // it is no JSON at all, such as a number that no double can hold
            EXPECT_LE(info.slots, kMaxToldSlots) << body.substr(0, 100);
            EXPECT_LE(info.resident_bytes, kMaxToldMemory);
            EXPECT_EQ(info.name.find('\n'), std::string_view::npos);
            EXPECT_EQ(info.version.find('\0'), std::string_view::npos);
            for (const ToldModel &model : info.models) {
                EXPECT_LE(model.name.size(), kLimits.model_name);
                EXPECT_EQ(model.dimensions, 0);
            }
        }
    }
}

TEST(DaemonInfo, AWrongModelCostsItselfOnly) {
    for (const char *member : {"role", "name", "fingerprint", "dimensions"}) {
        for (const char *value : {"null", "5", "-5", "1e300", "[]", "{}", "\"\"", "[[[[]]]]", "true"}) {
            DaemonInfo info;
            const std::string bad = std::string(R"({"role": "generation", "name": "m", "fingerprint": "f", ")") +
                                    member + "x\": 1, \"" + member + "2\": 1}";
            const std::string worse = std::string("{\"") + member + "\": " + value + "}";
            ASSERT_TRUE(read_daemon_info(reply("\"models\": [" + worse + ", " + bad + ", " + kModel + ", 7, null]"),
                                         kLimits, info));
            EXPECT_EQ(info.models.back().name, "minilm") << worse;
        }
    }
}

// Cut short, one name might be taken for another.
TEST(DaemonInfo, ANameTooLongIsLeftOutAndSoAreTooManyModels) {
    DaemonInfo info;
    const auto model = [](const std::string &name, const std::string &fingerprint) {
        return R"({"role": "generation", "name": ")" + name + R"(", "fingerprint": ")" + fingerprint + "\"}";
    };
    ASSERT_TRUE(read_daemon_info(reply("\"models\": [" + model(std::string(128, 'x'), "f") + "," +
                                       model("m", std::string(80, 'f')) + "," +
                                       model(std::string(127, 'x'), std::string(79, 'f')) + "]"),
                                 kLimits, info));
    EXPECT_EQ(info.models.size(), 1U);
    EXPECT_TRUE(info.has_more_models) << "a call can name the one whose fingerprint is too long";
    std::string many;
    for (std::size_t i = 0; i < 2 * kMaxToldModels; i++)
        many += (i == 0 ? "" : ", ") + model("m" + std::to_string(i), "f");
    ASSERT_TRUE(read_daemon_info(reply("\"models\": [" + many + "]"), kLimits, info));
    EXPECT_EQ(info.models.size(), kMaxToldModels);
    EXPECT_TRUE(info.has_more_models);
    ASSERT_TRUE(read_daemon_info(reply("\"models\": [" + model("m", "f") + "]"), kLimits, info));
    EXPECT_FALSE(info.has_more_models);
    ASSERT_TRUE(
        read_daemon_info(reply("\"has_more_models\": true, \"models\": [" + model("m", "f") + "]"), kLimits, info));
    EXPECT_TRUE(info.has_more_models) << "it says so itself";
}

TEST(DaemonInfo, MemoryAloneCanBeRead) {
    std::uint64_t bytes = 1;
    EXPECT_TRUE(read_resident_bytes(reply(R"("resident_bytes": 4096)"), bytes));
    EXPECT_EQ(bytes, 4096U);
    EXPECT_TRUE(read_resident_bytes(reply(R"("resident_bytes": 18446744073709551615)"), bytes) && bytes == 0);
    EXPECT_TRUE(read_resident_bytes(reply(R"("resident_bytes": "much")"), bytes) && bytes == 0);
    EXPECT_FALSE(read_resident_bytes(R"({"result": "pong"})", bytes));
}

// ---- whose row it is -----------------------------------------------------------------------------------------------

DaemonIdentity called(const char *endpoint) {
    DaemonIdentity identity;
    std::snprintf(identity.endpoint, sizeof identity.endpoint, "%s", endpoint);
    identity.endpoint_hash = steadytext::core::stable_hash(endpoint);
    return identity;
}

TEST(DaemonRow, NothingOfAnEarlierDaemonIsAnothers) {
    constexpr BreakerSettings kSettings{2, 1'000'000};
    auto table = std::make_unique<DaemonTable>();
    auto &row = table->rows[3];
    EXPECT_FALSE(row.is_taken());
    EXPECT_FALSE(row.is_of("")) << "a free row is nobody's";
    table->move_in(3, called("ipc:///a"));
    const std::uint64_t first = row.tenure.load();
    row.breaker.trip(kSettings, 10);
    row.requests.store(7);
    row.latencies.record(5);
    row.resting_tenure.store(first);
    EXPECT_TRUE(row.is_of("ipc:///a") && row.rests());

    table->move_in(3, called("ipc:///b"));
    EXPECT_NE(row.tenure.load(), first);
    EXPECT_FALSE(row.rests());
    EXPECT_EQ(row.breaker.state(kSettings, 10), BreakerState::Closed);
    EXPECT_EQ(row.breaker.times_opened(), 0U) << "it is what incidents count";
    EXPECT_EQ(row.requests.load(), 0U);
    row.resting_tenure.store(first);
    EXPECT_FALSE(row.rests()) << "what was decided of the earlier one comes too late";

    row.clear();
    EXPECT_FALSE(row.is_of("ipc:///b"));
    table->move_in(3, called("ipc:///b"));
    EXPECT_NE(row.tenure.load(), first + 1) << "one of the same name that comes back is another";
}

}  // namespace
