// Server-sent events: what is one, and that it does not matter where the bytes were cut.
#include "src/core/event_stream.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace {

using steadytext::core::EventStream;
using Events = std::vector<std::string>;

void take(EventStream &stream, Events &events) {
    std::string data;
    while (stream.next(data))
        events.push_back(data);
}

// What comes of the bytes when they arrive in pieces of this size.
Events events_of(std::string_view bytes, std::size_t size) {
    EventStream stream;
    Events events;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
        stream.append(bytes.substr(0, size));
        take(stream, events);
    }
    return events;
}

// The same however they are cut.
void expect(std::string_view bytes, const Events &expected) {
    for (const std::size_t size : {bytes.size(), std::size_t{1}, std::size_t{2}, std::size_t{7}})
        EXPECT_EQ(events_of(bytes, size), expected) << "in pieces of " << size << ":\n" << bytes;
    for (std::size_t cut = 0; cut <= bytes.size(); cut++) {
        EventStream stream;
        Events events;
        stream.append(bytes.substr(0, cut));
        take(stream, events);
        stream.append(bytes.substr(cut));
        take(stream, events);
        EXPECT_EQ(events, expected) << "cut after " << cut << ":\n" << bytes;
    }
}

TEST(EventStream, AnEventEndsWithABlankLine) {
    expect("data: {\"a\": 1}\n\ndata: [DONE]\n\n", {"{\"a\": 1}", "[DONE]"});
    expect("data: one\n\ndata: half an event\n", {"one"});
    expect("data: one\n\ndata: half a line", {"one"});
    expect("", {});
}

TEST(EventStream, LinesEndInAnyWay) {
    expect("data: one\r\n\r\ndata: two\r\n\r\n", {"one", "two"});
    expect("data: one\r\rdata: two\r\r", {"one", "two"});
    expect("data: one\r\n\rdata: two\n\r\ndata: three\r\n\n", {"one", "two", "three"});
}

TEST(EventStream, AnEventIsThereWithItsLastByte) {
    EventStream stream;
    std::string data;
    stream.append("data: one\r\n\r");
    EXPECT_TRUE(stream.next(data)) << "whether LF follows or not";
    EXPECT_EQ(data, "one");
    stream.append("\ndata: two\n\n");
    EXPECT_TRUE(stream.next(data));
    EXPECT_EQ(data, "two");
    EXPECT_FALSE(stream.next(data));
}

TEST(EventStream, DataOfSeveralLinesIsPutTogether) {
    expect("data: {\ndata:   \"a\": 1\ndata:}\n\n", {"{\n  \"a\": 1\n}"});
    expect("data\ndata:\ndata: \n\n", {"\n\n"});
}

TEST(EventStream, OneBlankAfterTheColonIsNoData) { expect("data:x\n\ndata: x\n\ndata:  x\n\n", {"x", "x", " x"}); }

TEST(EventStream, WhatIsNoDataIsPassedOver) {
    expect(": a comment\n\n:\n\nevent: message\nid: 7\nretry: 100\ndata: one\n\n", {"one"});
    expect("event: ping\n\ndatabase: x\n\nDATA: y\n\n data: z\n\ndata: two\n\n\n\n", {"two"});
}

TEST(EventStream, AByteOrderMarkMayStandAtTheBeginning) {
    expect("\xEF\xBB\xBF"
           "data: one\n\n",
           {"one"});
    expect("data: one\n\n\xEF\xBB\xBF"
           "data: two\n\n",
           {"one"});
}

TEST(EventStream, AnyByteMayBeData) {
    const std::string bytes("data: \xC3\xA9 \xF0\x9F\x99\x82 \0 \xFF:\n\n", 20);
    expect(bytes, {std::string("\xC3\xA9 \xF0\x9F\x99\x82 \0 \xFF:", 12)});
}

TEST(EventStream, ALongLineIsNotLookedAtAgainForEachByte) {
    const std::string long_line = "data: " + std::string(1 << 20, 'x') + "\n\n";
    ASSERT_EQ(events_of(long_line, 16).size(), 1u);  // a minute, if it were
}

}  // namespace
