# The echo daemon is what other suites trust, so it is tested itself: the wire protocol, scheduling, each fault.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(start run finish);
use JSON::PP;
use Test::More;

my $build = $ENV{STEADYTEXT_BUILD} // 'build';
my $folder = tempdir(CLEANUP => 1);
my $json = JSON::PP->new->utf8->allow_nonref->canonical;

# Starts an echo daemon that ends with this test.
sub start_daemon {
    my ($name, @options) = @_;
    my ($in, $out) = ('', '');
    my $endpoint = "ipc://$folder/$name";
    my $daemon = start ["$build/echo-daemon", '--endpoint', $endpoint, '--exit-on-stdin-eof', @options],
        '<', \$in, '>', \$out;
    $daemon->pump until $out =~ /listening on/;
    return ($daemon, $endpoint);
}

# Plays a script of requests (references) and waits ('<', '<3') on one connection; returns the replies as text.
sub replies {
    my ($endpoint, @script) = @_;
    my $number = 0;
    my $in = join '', map { ref $_ ? $json->encode({ id => 'id-' . ++$number, params => {}, %$_ }) . "\n" : "$_\n" } @script;
    my $out = '';
    run ["$build/wire-client", $endpoint, 3000], '<', \$in, '>', \$out or $out .= 'no reply';
    return split /\n/, $out;
}

sub request { my ($method, %params) = @_; return { method => $method, params => \%params }; }
sub decoded { return map { $json->decode($_) } replies(@_); }
sub answer { my ($reply) = decoded(@_, '<'); return $reply->{result} // "error: $reply->{error}"; }
sub spoiled { my ($endpoint, $fault) = @_; my ($reply) = replies($endpoint, request('generate', prompt => "!fault:$fault"), '<'); return $reply; }

my ($echo, $endpoint) = start_daemon('pipelined');

subtest 'answers of the wire protocol' => sub {
    is answer($endpoint, request('ping')), 'pong', 'ping';
    is answer($endpoint, request('generate', prompt => "a \"b\" \x{e9}")), "a \"b\" \x{e9}", 'generate gives the prompt';
    like((replies($endpoint, request('generate', prompt => 'x'), '<'))[0], qr/^\{"id": "id-1"/, 'the id comes first');
    is_deeply answer($endpoint, request('generate', prompt => 'two words', return_usage => JSON::PP::true)),
        { text => 'two words', prompt_tokens => 2, completion_tokens => 2, finish_reason => 'stop', engine_ms => 0,
          model => 'echo', fingerprint => 'echo:1' }, 'return_usage gives an object';
    is_deeply answer($endpoint, request('rerank', query => 'q', documents => ['b', 'a'])), [['b', 1], ['a', 0.5]],
        'rerank keeps the order';
    is_deeply [map { $_->{result}{token} } decoded($endpoint, request('generate_iter', prompt => 'one two', ack => JSON::PP::false), '<3')],
        ['one', ' two', '##STREAM_END##'], 'a stream without ACK';
    is_deeply [map { $_->{result}{token} } decoded($endpoint, request('generate_iter', prompt => 'one two'), '<', 'ACK', '<', 'ACK', '<')],
        ['one', ' two', '##STREAM_END##'], 'a stream with ACK';
    is answer($endpoint, request('unknown')), 'error: Unknown method: unknown', 'an unknown method';
    is_deeply decoded($endpoint, 'no JSON', '<'), { id => undef, result => undef, error => 'Malformed request' },
        'a malformed message';
};

subtest 'embeddings' => sub {
    my $vector = answer($endpoint, request('embed', text_input => 'some text'));
    my $squares = 0;
    $squares += $_ ** 2 for @$vector;
    cmp_ok abs($squares - 1), '<', 1e-5, 'of length 1';
    is_deeply answer($endpoint, request('embed', text_input => ['some text'])), $vector, 'the same for the same text';
    my $batch = answer($endpoint, request('embed_batch', texts => ['other', 'some text']));
    is scalar @$vector, $batch->{dimensions}, 'as many numbers as it says';
    is_deeply $batch->{embeddings}[1], $vector, 'the same in a batch';
    isnt $json->encode($batch->{embeddings}[0]), $json->encode($vector), 'another for another text';
};

subtest 'scheduling' => sub {
    my @order = map { $_->{id} } decoded($endpoint, request('generate', prompt => '!fault:delay=50'), request('ping'), '<2');
    is_deeply \@order, ['id-2', 'id-1'], 'a slow request does not hold up others';
    my @cancelled = decoded($endpoint, request('generate', prompt => '!fault:hold'), request('cancel', id => 'id-1'), '<2');
    is_deeply [map { $_->{error} // $_->{result} } @cancelled], ['Request cancelled', { cancelled => JSON::PP::true }], 'cancel';
    is answer($endpoint, request('generate', prompt => '!fault:hold', timeout_ms => 20)), 'error: Deadline exceeded', 'timeout_ms';
    my @released = decoded($endpoint, request('generate', prompt => '!fault:hold'), request('control', release => JSON::PP::true), '<2');
    is_deeply [sort map { $_->{id} } @released], ['id-1', 'id-2'], 'hold and release';
    is answer($endpoint, request('stats'))->{in_flight}, 0, 'nothing is left';
};

subtest 'faults' => sub {
    my %expected = (
        garbage         => qr/not JSON/,
        truncated       => qr/^\{"id": "id-1", "result": "!f[^}]*$/,
        'oversized=9'   => qr/"result": "x{9}"/,
        'late=1'        => qr/"result": "!fault:late=1"/,
        'wrong-id'      => qr/^\{"id": "id-0"/,
        'previous-boot' => qr/^\{"id": "0d-1"/,
        'null-id'       => qr/^\{"id": null/,
        nul             => qr/\\u0000/,
        'bad-utf8'      => qr/\xff\xfe/,
        nan             => qr/"result": NaN/,
        'deep-json=3'   => qr/\Q[[[]]]\E/,
        'multipart=3'   => qr/^[^\t]+\t[^\t]+\t[^\t]+$/,
        empty           => qr/^$/,
        'error=No_luck' => qr/"error": "No luck"/,
        'no-such-fault' => qr/Unknown fault: no-such-fault/,
    );
    like spoiled($endpoint, $_) // '', $expected{$_}, $_ for sort keys %expected;
    like((replies($endpoint, request('embed', text_input => '!fault:nan'), '<'))[0], qr/\[NaN, -?0/, 'nan in an embedding');
    is scalar(replies($endpoint, request('generate', prompt => '!fault:duplicate'), '<2')), 2, 'duplicate';
    is((decoded($endpoint, request('generate', prompt => '!fault:no-reply'), request('ping'), '<'))[0]{result}, 'pong', 'no-reply');
    my @armed = map { $_->{error} // $_->{result} } decoded($endpoint,
        request('control', fault => 'error=Told', methods => ['ping']), '<', request('ping'), '<', request('ping'), '<');
    is_deeply [@armed[1, 2]], ['Told', 'pong'], 'by control, once, for one method';
};

subtest 'slots and the serial daemon' => sub {
    my ($serial, $where) = start_daemon('serial', '--serial');
    is answer($where, request('info')), 'error: Unknown method: info', 'the serial daemon knows no info';
    my @order = map { $_->{id} } decoded($where, request('generate', prompt => '!fault:delay=50'), request('ping'), '<2');
    is_deeply \@order, ['id-1', 'id-2'], 'and answers in order';
    finish $serial;

    my ($two, $endpoint_of_two) = start_daemon('two', '--slots=2', '--delay-ms=30');
    my @served = replies($endpoint_of_two, (map { request('generate', prompt => "p$_") } 1 .. 6), '<6');
    is scalar @served, 6, 'requests beyond the slots wait';
    is answer($endpoint_of_two, request('stats'))->{max_concurrent}, 2, 'no more at a time than there are slots';
    finish $two;
};

subtest 'the end' => sub {
    finish $echo;
    is $echo->result(0), 0, 'it ends with its input';
    ok !-e "$folder/pipelined", 'and leaves no socket';
    my ($dying, $where) = start_daemon('dying');
    replies($where, request('generate', prompt => '!fault:exit'));
    finish $dying;
    is $dying->result(0), 3, 'the fault exit ends it';
};

done_testing;
