// Daemons as settings name them and as the gateway picks them: endpoints, the list, turns, the breaker.
#include "src/core/balance.hpp"
#include "src/core/shared_part.hpp"
#include "src/core/breaker.hpp"
#include "src/core/daemon_list.hpp"
#include "src/core/secrets.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace {

using namespace steadytext::core;

bool is_endpoint(std::string_view text) {
    Endpoint endpoint;
    Problem problem;
    const bool good = parse_endpoint(text, endpoint, problem);
    EXPECT_EQ(good, !problem.is_set()) << text;
    return good;
}

TEST(Endpoint, TakesWhatItShould) {
    for (const char *good : {"tcp://localhost:5555", "tcp://127.0.0.1:1024", "tcp://10.0.0.1:65535", "tcp://[::1]:5555",
                             "tcp://[fd00::1]:5555", "tcp://my-host.example.com:5555", "ipc:///run/steadytext.sock",
                             "http://localhost:8080/v1", "https://api.example.com/v1", "http://192.168.0.1:80",
                             "dns+tcp://fleet.internal:5555",
                             "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
                             "http://[::1]:8080/v1?a=b/c&d=%20"})
        EXPECT_TRUE(is_endpoint(good)) << good;
}

TEST(Endpoint, IsPublicWithoutWhatMayBeAKey) {
    const std::pair<const char *, const char *> kCases[] = {
        {"https://x.com/v1?api-key=SECRET", "https://x.com/v1?api-key=***"},
        {"https://x.com/v1?api-version=2024-10-21&api-key=SECRET;k=",
         "https://x.com/v1?api-version=***&api-key=***;k=***"},
        {"https://x.com/v1?SECRET", "https://x.com/v1?***"},
        {"https://x.com?a=S&&SECRET", "https://x.com?a=***&&***"},
        {"https://x.com/v1?k=S%26E?C=R/E#T", "https://x.com/v1?k=***#***"},
        {"https://me:SECRET@x.com/v1@2", "https://***@x.com/v1@2"},
        {"https://me:SEC@RET@x.com?a=b@c", "https://***@x.com?a=***"},
        {"htps:/x.com?api-key=SECRET", "htps:/x.com?api-key=***"},
        {"ipc:///run/a?b=c", "ipc:///run/a?b=c"},
        {"tcp://localhost:5555", "tcp://localhost:5555"},
        {"", ""}};
    for (const auto &[endpoint, shown] : kCases) {
        EXPECT_STREQ(PublicEndpoint(endpoint).text, shown);
        EXPECT_STREQ(PublicEndpoint(shown).text, shown) << "what is public stays";
    }
    EXPECT_STREQ(PublicEndpoint("https://x.com/v1?api-key=***#12").text, "https://x.com/v1?api-key=***#12")
        << "one of several";
    EXPECT_STREQ(PublicEndpoint(std::string(1000, 'x')).text, std::string(255, 'x').c_str());
    EXPECT_EQ(std::string(PublicEndpoint("https://x.com/?k=" + std::string(1000, 'S')).text), "https://x.com/?k=***");
}

TEST(DaemonList, FindsAnEntryByItsPublicName) {
    std::string list = "https://x.com/v1?k=one weight=2, https://y.com/v1?k=two, https://y.com/v1?k=three";
    Problem problem;
    EXPECT_TRUE(drain_daemon(list, "https://x.com/v1?k=***", true, problem)) << problem.message;
    EXPECT_EQ(list, "https://x.com/v1?k=one weight=2 drain=on, https://y.com/v1?k=two, https://y.com/v1?k=three");
    EXPECT_FALSE(has_daemon(list, "https://y.com/v1?k=***")) << "which of two?";
    EXPECT_TRUE(has_daemon(list, "https://y.com/v1?k=two"));
    EXPECT_EQ(daemon_of_hash(list, stable_hash("https://y.com/v1?k=three")), "https://y.com/v1?k=three");
    EXPECT_FALSE(add_daemon(list, "https://z.com/v1?k=***", 1, problem));
    EXPECT_STREQ(problem.sqlstate, sqlstate::kUndefinedObject);
    Problem refusal;
    EXPECT_FALSE(check_daemon_list("https://x.com/v1 header.api-key=\x01SECRET", refusal));
    EXPECT_EQ(std::string(refusal.message).find("SECRET"), std::string::npos) << refusal.message;
    Problem unquoted;
    EXPECT_FALSE(check_daemon_list("https://x.com/v1 header.Authorization=Bearer SECRET", unquoted));
    EXPECT_EQ(std::string(unquoted.message).find("SECRET"), std::string::npos) << unquoted.message;
    Problem twice;
    EXPECT_FALSE(check_daemon_list("https://x.com/v1?k=SECRET, https://x.com/v1?k=SECRET", twice));
    EXPECT_EQ(std::string(twice.message).find("SECRET"), std::string::npos) << twice.message;
}

TEST(Secrets, AreNotRepeatedInWords) {
    Secrets secrets;
    secrets.add("sk-0123456789");
    secrets.add("Basic dXNlcjpwYXNz");
    secrets.add_query("v=1&api-key=a%2Fsecret");
    for (const auto &[words, shown] : {std::pair{"key sk-0123456789, sk-0123456789!", "key ***, ***!"},
                                       {"got Basic dXNlcjpwYXNz", "got ***"},
                                       {"got dXNlcjpwYXNz", "got ***"},
                                       {"?v=1&api-key=a%2Fsecret", "?v=1&api-key=***"},
                                       {"a/secret", "***"},
                                       {"cut: sk-01234", "cut: ***"},
                                       {"", ""},
                                       {"sk-", "sk-"},
                                       {"nothing of it", "nothing of it"}})
        EXPECT_EQ(secrets.masked(words), shown);
}

TEST(Endpoint, OfHttpIsTakenApartAsLibcurlDoes) {
    Endpoint endpoint;
    Problem problem;
    ASSERT_TRUE(
        parse_endpoint("https://[fd00::1]:8443/openai/d/embeddings?api-version=2024-10-21&x=/v1", endpoint, problem));
    EXPECT_STREQ(endpoint.host, "fd00::1");
    EXPECT_EQ(endpoint.port, 8443);
    EXPECT_STREQ(endpoint.path, "/openai/d/embeddings");
    EXPECT_STREQ(endpoint.query, "api-version=2024-10-21&x=/v1");
    ASSERT_TRUE(parse_endpoint("http://localhost:8080?x=1", endpoint, problem)) << "no path before the query";
    EXPECT_STREQ(endpoint.query, "x=1");
    for (const auto &[bad, why] :
         {std::pair<const char *, const char *>{"https://user:secret@example.com/v1", "user or a password"},
          {"https://user@example.com/v1", "user or a password"},
          {"https://@example.com/v1", "user or a password"},
          {"https://example.com/v1#chat", "fragment"},
          {"https://example.com#", "fragment"},
          {"http:///example.com/v1", "no URL"},
          {"http://a\\b/v1", "no URL"},
          {"http://example.com:80:80/", "no URL"}}) {
        Problem told;
        EXPECT_FALSE(parse_endpoint(bad, endpoint, told)) << bad;
        EXPECT_NE(std::string_view(told.detail).find(why), std::string_view::npos) << bad << ": " << told.detail;
    }
}

TEST(Endpoint, RefusesWhatItShould) {
    const std::string long_host(254, 'a');
    for (const std::string &bad :
         {std::string(), std::string("localhost:5555"), std::string("udp://localhost:5555"),
          std::string("tcp://localhost"), std::string("tcp://localhost:-1"), std::string("tcp://localhost:0"),
          std::string("tcp://localhost:1023"), std::string("tcp://localhost:65536"), std::string("tcp://:5555"),
          std::string("tcp://host_name:5555"), std::string("tcp://-host:5555"), std::string("tcp://256.1.1.1:5555"),
          std::string("tcp://[::1:5555"), std::string("tcp://host name:5555"), std::string("ipc://relative"),
          "tcp://" + long_host + ":5555", "ipc:///" + std::string(107, 'x'), std::string("https://example.com:444/v1"),
          std::string("tcp://a..b:5555")})
        EXPECT_FALSE(is_endpoint(bad)) << bad;
}

TEST(Endpoint, RefusesLinkLocalAndMetadataInEveryNotation) {
    for (const char *bad : {"169.254.169.254",
                            "169.254.0.1",
                            "2852039166",
                            "0xA9FEA9FE",
                            "0251.0376.0251.0376",
                            "0xa9.0xfe.0xa9.0xfe",
                            "169.254.43518",
                            "[fe80::1]",
                            "[fe80::1%25eth0]",
                            "[::ffff:169.254.169.254]",
                            "[::ffff:a9fe:a9fe]",
                            "[::169.254.169.254]",
                            "[64:ff9b::169.254.169.254]",
                            "[2002:a9fe:a9fe::1]",
                            "[fd00:ec2::254]",
                            "metadata.google.internal",
                            "METADATA.google.internal.",
                            "100.100.100.200",
                            "0.0.0.0",
                            "[::]",
                            "224.0.0.1",
                            "[ff02::1]"})
        EXPECT_FALSE(is_endpoint("http://" + std::string(bad) + "/latest")) << bad;
}

TEST(DaemonList, OptionsOfEnginesAreReadAndWrittenBack) {
    DaemonEntry entry, again;
    Problem problem;
    ASSERT_EQ(
        parse_daemon_list(
            "https://example.com/v1 max_tokens_param=max_completion_tokens omit=\"temperature, seed\" strict=on "
            "header.X-Team=\"a b\" header.api-key=@/etc/key extra_body=/etc/body.json reasoning_tokens=7 batch=100",
            &entry, 1, problem),
        1U);
    ASSERT_TRUE(entry.valid) << entry.problem.detail;
    EXPECT_EQ(entry.omitted, 3);
    EXPECT_EQ(entry.batch, 100);
    EXPECT_STREQ(entry.headers, "X-Team: a b\napi-key: @/etc/key\n");
    ASSERT_EQ(parse_daemon_list(format_daemon_entry(entry), &again, 1, problem), 1U);
    EXPECT_EQ(format_daemon_entry(again), format_daemon_entry(entry));
    EXPECT_TRUE(same_connection(entry, again));
    for (const char *bad : {"omit=nothing", "omit=\"\"", "strict=maybe", "header.Host=x", "header.content-length=5",
                            "header.=x", "header.a:b=x", "header.A=\"\x01\"", "max_tokens_param=\"a b\"", "batch=0",
                            "batch=2049", "reasoning_tokens=-1", "reasoning_tokens=1000001"}) {
        ASSERT_EQ(parse_daemon_list(std::string("https://example.com/v1 ") + bad, &entry, 1, problem), 1U);
        EXPECT_FALSE(entry.valid) << bad;
    }
}

TEST(DaemonList, ABadEntryCostsTheOthersNothing) {
    auto entries = std::make_unique<DaemonEntry[]>(8);
    Problem first;
    ASSERT_EQ(parse_daemon_list("tcp://a:5555 weight=2, tcp://b:1 , ipc:///x model=\"two words\" drain=on,,",
                                entries.get(), 8, first),
              3U);
    EXPECT_TRUE(entries[0].valid);
    EXPECT_EQ(entries[0].weight, 2);
    EXPECT_FALSE(entries[1].valid);
    EXPECT_STREQ(entries[1].problem.message, "Port must be between 1024 and 65535");
    EXPECT_TRUE(entries[2].valid);
    EXPECT_STREQ(entries[2].model, "two words");
    EXPECT_TRUE(entries[2].drain);
    EXPECT_TRUE(first.is_set());
}

TEST(DaemonList, RefusesUnknownAndMalformedOptions) {
    for (const char *bad :
         {"tcp://a:5555 weight=0", "tcp://a:5555 weight=1001", "tcp://a:5555 weight=x", "tcp://a:5555 colour=red",
          "tcp://a:5555 drain", "tcp://a:5555 model=", "tcp://a:5555, tcp://a:5555"}) {
        Problem problem;
        EXPECT_FALSE(check_daemon_list(bad, problem)) << bad;
    }
    Problem problem;
    EXPECT_TRUE(check_daemon_list("", problem));
}

TEST(DaemonList, RefusesOptionsThatWouldDoNothing) {
    for (const char *bad :
         {"http://a:8000/v1 server_key_file=/k", "https://a/v1 server_key_file=/k", "http://127.0.0.1:1/v1 ca_file=/c",
          "tcp://a:5555 key_file=/k", "tcp://a:5555 ca_file=/c", "ipc:///x batch=2", "dns+tcp://a:5555 strict=on",
          "tcp://a:5555 header.X=@/k", "tcp://a:5555 reasoning_tokens=1", "tcp://a:5555 omit=seed",
          "tcp://a:5555 extra_body=/e", "tcp://a:5555 max_tokens_param=x"}) {
        Problem problem;
        EXPECT_FALSE(check_daemon_list(bad, problem)) << bad;
    }
    for (const char *good : {"tcp://a:5555 server_key_file=/k", "dns+tcp://a:5555 server_key_file=/k",
                             "https://a/v1 ca_file=/c key_file=/k", "http://a/v1 key_file=/k"}) {
        Problem problem;
        EXPECT_TRUE(check_daemon_list(good, problem)) << good;
    }
}

TEST(DaemonList, ReadsBackWhatItWrites) {
    auto entries = std::make_unique<DaemonEntry[]>(2);
    Problem problem;
    const std::string text = "https://host/v1 weight=3 drain=on model=\"a b\" provider=openai key_file=/k "
                             "fingerprint=f:1 prefix=\"Query: \"";
    ASSERT_EQ(parse_daemon_list(text, entries.get(), 2, problem), 1U);
    ASSERT_FALSE(problem.is_set()) << problem.message;
    EXPECT_EQ(format_daemon_entry(entries[0]), text);
}

// ---- steadytext_daemon_register and its kin ------------------------------------------------------------------------

constexpr const char *kList =
    "tcp://a:5555   weight=2 model=\"two, words\",ipc:///x  drain=on prefix=\"Query: \" , tcp://b:1";

TEST(DaemonListEdit, AddsAtTheEndAndLeavesTheOthersWordForWord) {
    std::string list = kList;
    Problem problem;
    ASSERT_TRUE(add_daemon(list, "tcp://new:5555", 3, problem)) << problem.message;
    EXPECT_EQ(list, "tcp://a:5555   weight=2 model=\"two, words\", ipc:///x  drain=on prefix=\"Query: \", tcp://b:1, "
                    "tcp://new:5555 weight=3");
    EXPECT_TRUE(has_daemon(list, "tcp://new:5555"));
    EXPECT_FALSE(has_daemon(list, "tcp://new:5556"));
    list.clear();
    ASSERT_TRUE(add_daemon(list, "ipc:///only", 1, problem));
    EXPECT_EQ(list, "ipc:///only");
}

TEST(DaemonListEdit, RefusesWhatIsNoEndpointAndNoWeight) {
    for (const char *bad : {"", "tcp://a", "tcp://a:5555 weight=2", "ipc:///x, tcp://b:5555", "ipc:///a\"b"}) {
        std::string list;
        Problem problem;
        EXPECT_FALSE(add_daemon(list, bad, 1, problem)) << bad;
        EXPECT_STREQ(problem.sqlstate, sqlstate::kInvalidParameterValue) << bad;
        EXPECT_STRNE(problem.hint, "") << bad;
        EXPECT_EQ(list, "");
    }
    for (const int weight : {-1, 0, kMaxWeight + 1}) {
        std::string list = kList;
        Problem problem;
        EXPECT_FALSE(set_daemon_weight(list, "ipc:///x", weight, problem)) << weight;
        EXPECT_STREQ(problem.sqlstate, sqlstate::kInvalidParameterValue);
    }
}

TEST(DaemonListEdit, ChangesOneOptionOfOneEntry) {
    std::string list = kList;
    Problem problem;
    ASSERT_TRUE(set_daemon_weight(list, "tcp://a:5555", 7, problem));
    EXPECT_EQ(list, "tcp://a:5555 model=\"two, words\" weight=7, ipc:///x  drain=on prefix=\"Query: \", tcp://b:1");
    ASSERT_TRUE(drain_daemon(list, "tcp://a:5555", true, problem));
    ASSERT_TRUE(drain_daemon(list, "ipc:///x", false, problem));
    EXPECT_EQ(list, "tcp://a:5555 model=\"two, words\" weight=7 drain=on, ipc:///x prefix=\"Query: \", tcp://b:1");
    ASSERT_TRUE(set_daemon_weight(list, "tcp://a:5555", 1, problem));
    EXPECT_EQ(list, "tcp://a:5555 model=\"two, words\" drain=on, ipc:///x prefix=\"Query: \", tcp://b:1");
}

TEST(DaemonListEdit, TakesOutABadEntryTooAndNamesOneThatIsNotThere) {
    std::string list = kList;
    Problem problem;
    ASSERT_TRUE(remove_daemon(list, "tcp://b:1", problem));
    EXPECT_TRUE(check_daemon_list(list, problem)) << problem.message;
    EXPECT_FALSE(remove_daemon(list, "tcp://b:1", problem));
    EXPECT_STREQ(problem.sqlstate, sqlstate::kUndefinedObject);
    EXPECT_STREQ(problem.message, "there is no daemon \"tcp://b:1\"");
}

TEST(DaemonList, OnlyWeightAndDrainKeepAConnection) {
    auto entries = std::make_unique<DaemonEntry[]>(4);
    Problem problem;
    ASSERT_EQ(parse_daemon_list("tcp://a:5555, tcp://a:5555 weight=3 drain=on, tcp://a:5555 model=m, tcp://b:5555",
                                entries.get(), 4, problem),
              4U);
    EXPECT_TRUE(same_connection(entries[0], entries[1]));
    EXPECT_FALSE(same_connection(entries[0], entries[2]));
    EXPECT_FALSE(same_connection(entries[0], entries[3]));
}

TEST(Balance, GivesEachItsShareEvenlySpread) {
    const int weights[] = {1, 2, 5};
    std::int64_t current[3] = {};
    int turns[3] = {};
    for (int turn = 0; turn < 8000; turn++) {
        std::vector<Candidate> candidates;
        for (int i = 0; i < 3; i++)
            candidates.push_back({&current[i], weights[i], 0, 0});
        turns[choose(candidates)]++;
    }
    EXPECT_EQ(turns[0], 1000);
    EXPECT_EQ(turns[1], 2000);
    EXPECT_EQ(turns[2], 5000);
}

TEST(Balance, PrefersTheLessBusyOfEquals) {
    std::int64_t current[2] = {};
    const std::vector<Candidate> candidates = {{&current[0], 1, 7, 0}, {&current[1], 1, 3, 0}};
    EXPECT_EQ(choose(candidates), 1U);
}

TEST(Balance, WhatRequestsShareIsTheirPrefix) {
    const auto request = [](const std::string &prompt, const std::string &more) {
        return R"({"prompt": ")" + prompt + R"(")" + more + R"(, "seed": 42})";
    };
    const auto shared = [&](const std::string &prompt, const std::string &prefix) {
        return std::string(shared_part(request(prompt, R"(, "prefix_bytes": )" + prefix)));
    };
    EXPECT_EQ(shared("Is it red? rose", "10"), R"({"prompt": "Is it red?)");
    EXPECT_EQ(shared("Is it red? rose", "10"), shared("Is it red? sky", "10"));
    EXPECT_NE(shared("Is it red? rose", "10"), shared("Is it blue? sky", "11"));
    EXPECT_EQ(shared(R"(say \"a\\\u001f\n\" b)", "11"), R"({"prompt": "say \"a\\\u001f\n\" )") << "an escape is a byte";
    EXPECT_EQ(shared("w\xC3\xA4hle rot", "7"), "{\"prompt\": \"w\xC3\xA4hle ");
    EXPECT_EQ(shared("all", "3"), R"({"prompt": "all)");
    EXPECT_EQ(shared("all", "99"), R"({"prompt": "all)") << "no more than there is";
    EXPECT_EQ(shared("a", "x"), request("a", R"(, "prefix_bytes": x)")) << "no number";
    for (const std::string &text : {request("no prefix", ""), request(R"(in the text \", \"prefix_bytes\": 3)", ""),
                                    std::string(R"({"prompt": "cut \)"), std::string(R"({"prompt": ")"),
                                    std::string(R"({"text_input": "a"})"), std::string()})
        EXPECT_EQ(shared_part(text), text);
}

TEST(Affinity, GivesAKeyToOneDaemonByWeightAndMovesOnlyTheKeysOfOneThatGoes) {
    const std::vector<Candidate> all = {{nullptr, 1, 0, stable_hash("tcp://a:5555")},
                                        {nullptr, 2, 0, stable_hash("tcp://b:5555")},
                                        {nullptr, 5, 0, stable_hash("tcp://c:5555")}};
    const std::vector<Candidate> without_last(all.begin(), all.end() - 1);
    constexpr int kKeys = 80'000;
    int turns[3] = {};
    for (int i = 0; i < kKeys; i++) {
        const std::uint64_t key = stable_hash("prompt " + std::to_string(i));
        const std::size_t winner = choose_for_key(all, key);
        ASSERT_EQ(choose_for_key(all, key), winner);
        turns[winner]++;
        if (winner != 2) {
            ASSERT_EQ(choose_for_key(without_last, key), winner) << "its keys stay with it";
        }
    }
    for (std::size_t i = 0; i < 3; i++)
        EXPECT_NEAR(turns[i], kKeys * static_cast<double>(all[i].weight) / 8, kKeys / 100) << i;
}

TEST(Affinity, LeavesWhatIsBeyondAQuarterMoreThanItsShareToTheNext) {
    std::vector<Candidate> all = {{nullptr, 1, 0, stable_hash("tcp://a:5555")},
                                  {nullptr, 1, 0, stable_hash("tcp://b:5555")},
                                  {nullptr, 2, 0, stable_hash("tcp://c:5555")}};
    const std::uint64_t key = stable_hash("one instruction");
    const std::size_t first = choose_for_key(all, key);
    constexpr std::size_t kRequests = 400;
    for (std::size_t i = 0; i < kRequests; i++)
        all[choose_for_key(all, key)].outstanding++;
    for (const Candidate &each : all)
        EXPECT_LE(static_cast<double>(each.outstanding), 1.25 * kRequests * static_cast<double>(each.weight) / 4 + 1);
    EXPECT_GE(static_cast<double>(all[first].outstanding),
              1.25 * kRequests * static_cast<double>(all[first].weight) / 4 - 1)
        << "its own daemon has the most that it may";
    for (Candidate &each : all)
        each.outstanding = 0;
    EXPECT_EQ(choose_for_key(all, key), first) << "one at a time all are its own daemon's";
}

constexpr BreakerSettings kSettings{3, 1000};

TEST(Breaker, OpensAfterThresholdAndOnlyForFailuresInARow) {
    Breaker breaker;
    breaker.record_failure(kSettings, 0);
    breaker.record_failure(kSettings, 0);
    breaker.record_success(kSettings, 0);
    breaker.record_failure(kSettings, 0);
    breaker.record_failure(kSettings, 0);
    EXPECT_EQ(breaker.state(kSettings, 0), BreakerState::Closed);
    breaker.record_failure(kSettings, 10);
    EXPECT_EQ(breaker.state(kSettings, 10), BreakerState::Open);
    EXPECT_FALSE(breaker.admit(kSettings, 10));
}

TEST(Breaker, TrippedByHandStaysOpenWhateverStillArrives) {
    Breaker breaker;
    breaker.trip(kSettings, 0);
    breaker.record_success(kSettings, 1);
    EXPECT_EQ(breaker.state(kSettings, 1), BreakerState::Open) << "an answer to what was sent before";
    breaker.reset();
    EXPECT_EQ(breaker.state(kSettings, 1), BreakerState::Closed);
}

TEST(Breaker, OpensForAnswersThatNobodyCanReadThoughTheGatewayTakesThemForAnswers) {
    Breaker breaker;
    for (int i = 0; i < 3; i++) {
        breaker.record_success(kSettings, 0);
        breaker.record_unreadable(kSettings, 0);
        EXPECT_EQ(breaker.state(kSettings, 0), i < 2 ? BreakerState::Closed : BreakerState::Open);
    }
    breaker.reset();
    for (int i = 0; i < 3; i++) {
        breaker.record_unreadable(kSettings, 0);
        breaker.record_readable();
    }
    EXPECT_EQ(breaker.state(kSettings, 0), BreakerState::Closed) << "not in a row";
}

TEST(Breaker, LetsOneProbeThroughAndItsLeaseExpires) {
    Breaker breaker;
    breaker.trip(kSettings, 0);
    EXPECT_EQ(breaker.state(kSettings, 999), BreakerState::Open);
    EXPECT_EQ(breaker.state(kSettings, 1000), BreakerState::HalfOpen) << "by the clock alone";
    EXPECT_TRUE(breaker.admit(kSettings, 1000));
    EXPECT_FALSE(breaker.admit(kSettings, 1001)) << "the probe is under way";
    EXPECT_TRUE(breaker.admit(kSettings, 2001)) << "and was lost";
    breaker.record_failure(kSettings, 2002);
    EXPECT_EQ(breaker.state(kSettings, 2003), BreakerState::Open) << "a failed probe opens it again";
    EXPECT_TRUE(breaker.admit(kSettings, 3002));
    breaker.record_success(kSettings, 3003);
    EXPECT_EQ(breaker.state(kSettings, 3003), BreakerState::Closed);
}

TEST(DaemonList, WritesAValueWithALineEndInQuotes) {
    const auto entry = std::make_unique<DaemonEntry[]>(1);
    const auto again = std::make_unique<DaemonEntry[]>(1);
    Problem problem;
    ASSERT_EQ(parse_daemon_list("ipc:///x prefix=\"a\nb\"", entry.get(), 1, problem), 1U);
    ASSERT_EQ(parse_daemon_list(format_daemon_entry(entry[0]), again.get(), 1, problem), 1U);
    EXPECT_STREQ(again[0].prefix, "a\nb");
}

TEST(DaemonList, AddsBehindAQuoteLeftOpen) {
    std::string list = "ipc:///x model=\"a";
    Problem problem;
    ASSERT_TRUE(add_daemon(list, "tcp://new:5555", 1, problem));
    EXPECT_TRUE(has_daemon(list, "tcp://new:5555")) << list;
}

// steadytext_config_set('daemon_host' or 'daemon_port', ...): one part of one entry, composed and checked; nothing else
// moves.
TEST(DaemonList, SetFirstDaemonChangesOnePart) {
    const auto after = [](std::string list, const AddressParts &parts) {
        Problem problem;
        return set_first_daemon(list, parts, problem) ? list : std::string("refused");
    };
    EXPECT_EQ(after("", {.port = 6000}), "tcp://localhost:6000");
    EXPECT_EQ(after("", {.host = "h"}), "tcp://h:5555");
    EXPECT_EQ(after("tcp://h:7000 weight=3 key_file=\"/a, b\"", {.port = 6000}),
              "tcp://h:6000 weight=3 key_file=\"/a, b\"");
    EXPECT_EQ(after("tcp://h:7000 drain=on, tcp://g:7000", {.host = "::1"}), "tcp://[::1]:7000 drain=on, tcp://g:7000");
    EXPECT_EQ(after("tcp://[::1]:7000", {.port = 6000}), "tcp://[::1]:6000");
    EXPECT_EQ(after("bad entry=, ipc:///x weight=2, tcp://g:1024", {.port = 6000}),
              "bad entry=, ipc:///x weight=2, tcp://g:6000");
    EXPECT_EQ(after("https://a/v1 model=\"b, c\"", {.host = "h"}), "tcp://h:5555, https://a/v1 model=\"b, c\"");
    for (const char *host : {"a,b", "a b", "a\"", "a weight=2", "a:1,tcp://b", "169.254.169.254", "a/b", "a\nb",
                             "[::1]", "::1]:5555, tcp://[::2"})
        EXPECT_EQ(after("tcp://h:7000", {.host = host}), "refused") << host;
    for (const long port : {-1L, 80L, 1023L, 65536L, 1L << 40})
        EXPECT_EQ(after("tcp://h:7000", {.port = port}), "refused") << port;
}

}  // namespace
