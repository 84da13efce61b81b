# steadytextd itself: every method of the wire protocol with real models, bad messages, command line, start-up and end.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(finish run start timeout);
use JSON::PP;
use List::Util qw(sum);
use Test::More;

my $folder = tempdir(CLEANUP => 1);
my $json = JSON::PP->new->utf8->allow_nonref->canonical;
chomp(my $models = `scripts/models --print-dir`);
my $model = "$models/smollm2-135m-instruct-q4_1.gguf";
my $embedding_model = "$models/all-minilm-l6-v2.gguf";
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $patience = 120;  # seconds; the machine may be busy

# ---- the daemon and its clients ------------------------------------------------------------------------------------

# Starts a daemon that ends with this test; one thread, so that nothing waits for another.
sub start_daemon {
    my ($name, @options) = @_;
    my ($in, $log) = ('', '');
    my $endpoint = "ipc://$folder/$name";
    my $daemon = start ['build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--model', $model, @options],
        '<', \$in, '>&', \$log, timeout(10 * $patience);
    $daemon->pump until $log =~ /steadytextd: ready/;
    return ($daemon, $endpoint);
}

# Runs a daemon that is to end by itself; gives its exit status and what it said.
sub run_daemon {
    my $said = '';
    run ['build/steadytextd', @_], '<', \undef, '>&', \$said, timeout(10 * $patience);
    return ($? >> 8, $said);
}

sub request { my ($method, %params) = @_; return { method => $method, params => \%params }; }

# A script of the wire client: requests (references, with ids id-1, id-2, ... unless they have one), messages as they are, waits ('<').
sub script {
    my $number = 0;
    return join '', map { (ref $_ ? $json->encode({ id => 'id-' . ++$number, %$_ }) : $_) . "\n" } @_;
}

sub replies {
    my ($endpoint, @script) = @_;
    my $in = script(@script);
    my $out = '';
    run ['build/wire-client', $endpoint, $patience * 1000], '<', \$in, '>', \$out or $out .= 'no reply';
    return split /\n/, $out;
}

sub decoded { return map { $json->decode($_) } replies(@_); }
# A client that is spoken to step by step.
sub connect_to {
    my ($where) = @_;
    my %client = (in => '', out => '');
    $client{process} = start ['build/wire-client', $where, $patience * 1000], '<', \$client{in}, '>', \$client{out};
    return \%client;
}

sub send_to { my ($client, @messages) = @_; $client->{in} .= script(@messages); return; }

sub next_reply {
    my ($client) = @_;
    $client->{in} .= "<\n";
    $client->{process}->pump until $client->{out} =~ s/^(.*)\n//;
    return $json->decode($1);
}

sub disconnect { my ($client) = @_; $client->{process}->finish; return; }

sub outcome { my ($reply) = @_; return $reply->{result} // (defined $reply->{error} ? "error: $reply->{error}" : undef); }
sub answer  { return outcome((decoded(@_, '<'))[0]); }

my ($daemon, $endpoint) = start_daemon('daemon', '--embedding-model', $embedding_model, '--slots', 4, '--context', 512);

sub generation { return answer($endpoint, request('generate', prompt => 'Tell me a long story.', max_new_tokens => 24, @_)); }
# One that takes longer than anything else here.
sub long_request { return request('generate', prompt => 'Count to one thousand.', max_new_tokens => 400, @_); }

sub stream_request { return request('generate_iter', prompt => 'Tell me a long story.', max_new_tokens => 24, @_); }

# The pieces of a stream up to its end marker.
sub stream {
    my ($client, $acknowledged) = @_;
    my @pieces;
    send_to($client, stream_request(ack => $acknowledged));
    while ((my $piece = next_reply($client)->{result}{token}) ne '##STREAM_END##') {
        push @pieces, $piece;
        send_to($client, 'ACK') if $acknowledged;
    }
    disconnect($client);
    return @pieces;
}

sub trimmed { my ($text) = @_; return $text =~ s/^\s+|\s+$//gr; }
sub dot { my ($one, $other) = @_; return sum(map { $one->[$_] * $other->[$_] } 0 .. $#$one); }

# ---- methods -------------------------------------------------------------------------------------------------------

subtest 'ping and info' => sub {
    is answer($endpoint, request('ping')), 'pong', 'ping';
    is((replies($endpoint, request('ping'), '<'))[0], '{"id": "id-1", "result": "pong", "error": null}', 'the reply, byte by byte');
    my $info = answer($endpoint, request('info'));
    is $info->{name}, 'steadytextd', 'its name';
    is $info->{protocol}, 1, 'the protocol';
    is $info->{slots}, 4, 'the slots asked for';
    is $info->{slots_in_use}, 0, 'none is at work';
    cmp_ok $info->{idle_ms}, '>', 0, 'for some time now';
    my ($resident) = `cat /proc/$daemon->{KIDS}[0]{PID}/status` =~ /VmRSS:\s+(\d+) kB/;
    cmp_ok abs($info->{resident_bytes} / 1024 - $resident), '<', $resident / 10, 'its memory, as the system sees it';
    is_deeply $info->{determinism}, { checked => $true, batch_invariant => $true, shares_prefixes => $true, mode => 'batched' }, 'determinism is checked';
    my %offered = map { $_ => 1 } @{ $info->{capabilities} };
    ok $offered{$_}, "offers $_" for qw(generate generate_iter embed embed_batch rerank cancel return_usage timeout_ms);
    my %by_role = map { $_->{role} => $_ } @{ $info->{models} };
    is $by_role{generation}{name}, 'smollm2-135m-instruct-q4_1', 'a model is called as its file';
    is $by_role{generation}{context}, 512, 'with the context asked for';
    like $_->{fingerprint}, qr/^[0-9a-f]{64}$/, "the $_->{role} model has a fingerprint" for values %by_role;
    cmp_ok $by_role{embedding}{dimensions}, '>', 0, 'the embedding model has dimensions';
};

subtest 'generate' => sub {
    my $text = generation();
    like $text, qr/\w+ \w+/, 'gives a text';
    is generation(), $text, 'and the same again';
    my $usage = generation(return_usage => $true);
    is $usage->{text}, $text, 'return_usage: the same text';
    is $usage->{completion_tokens}, 24, 'its tokens are counted';
    is $usage->{finish_reason}, 'length', 'and ended because they were enough';
    cmp_ok $usage->{prompt_tokens}, '>', 0, 'those of the prompt too';
    cmp_ok $usage->{engine_ms}, '>', 0, 'and the time';
    my ($described) = grep { $_->{role} eq 'generation' } @{ answer($endpoint, request('info'))->{models} };
    is_deeply [@{$usage}{qw(model fingerprint)}], [@{$described}{qw(name fingerprint)}], 'from the model that info tells of';
    is_deeply generation(return_logprobs => $true), { text => $text, logprobs => undef }, 'return_logprobs gives an object, as the original';
    is generation(unsafe_mode => $true, response_format => undef, something => 'else'), $text, 'parameters it does not know change nothing';
    is generation(prompt => " \n\t"), undef, 'a blank prompt has no answer';
    my $ended = generation(prompt => 'What is 2 + 2? Answer with the number only.', max_new_tokens => 300, return_usage => $true);
    is $ended->{finish_reason}, 'stop', 'the model ends by itself';
    cmp_ok $ended->{completion_tokens}, '<', 300, 'before the limit';
};

subtest 'eos_string' => sub {
    my $text = generation();
    my ($before, $word) = $text =~ /^(.+?)\s+(\w{4,})\b/s;
    my $cut = generation(eos_string => $word, return_usage => $true);
    is $cut->{text}, $before, 'the text ends before it';
    is $cut->{finish_reason}, 'eos', 'and says so';
    is generation(eos_string => '[EOS]'), $text, '[EOS] stands for the model\'s own';
    is generation(eos_string => 'no such words here'), $text, 'one that does not come changes nothing';
    my ($inside) = $word =~ /^.(..)/;
    unlike generation(eos_string => $inside), qr/\Q$inside\E/, 'it is found within a word';
};

subtest 'seed and temperature' => sub {
    is generation(seed => 1), generation(seed => 2), 'without a temperature the seed changes nothing';
    my @texts = map { generation(seed => $_, temperature => 1.5) } 1 .. 4;
    is generation(seed => 1, temperature => 1.5), $texts[0], 'the same seed, the same text';
    my %different = map { $_ => 1 } @texts;
    cmp_ok scalar keys %different, '>', 1, 'other seeds, other texts';
    is generation(seed => -1), 'error: Seed must be a non-negative integer, got -1', 'a negative seed';
    is generation(seed => undef), 'error: Seed must be a non-negative integer, got None', 'no seed at all';
    like generation(temperature => -1), qr/^error: temperature must be/, 'a negative temperature';
};

subtest 'a prompt that does not fit' => sub {
    my $too_long = generation(prompt => 'word ' x 600, max_new_tokens => 100);
    like $too_long, qr/^error: Input is too long: (\d+) tokens\. Maximum allowed: (\d+)$/, 'is refused, with numbers';
    my ($tokens, $allowed) = $too_long =~ /(\d+) tokens\. Maximum allowed: (\d+)/;
    cmp_ok $tokens, '>', $allowed, 'that explain it';
    is $allowed, 512 - 100, 'the answer\'s room is kept';
    is generation(prompt => 'word ' x ($allowed + 1 - ($tokens - 600)), max_new_tokens => 100),
        "error: Input is too long: @{[ $allowed + 1 ]} tokens. Maximum allowed: $allowed", 'one token too many is too many';
    my $fitting = generation(prompt => 'word ' x ($allowed - ($tokens - 600)), max_new_tokens => 2, return_usage => $true);
    is $fitting->{prompt_tokens}, $allowed, 'as many as allowed fit';
};

subtest 'streams' => sub {
    my $text = generation();
    my @pushed = stream(connect_to($endpoint), $false);
    cmp_ok scalar @pushed, '>', 2, 'without ACK the pieces come by themselves';
    is trimmed(join '', @pushed), $text, 'and are the text of generate';
    is_deeply [stream(connect_to($endpoint), $true)], \@pushed, 'with ACK they come one by one';
    is_deeply [map { $_->{result} } decoded($endpoint, stream_request(max_new_tokens => 1, include_logprobs => $true), '<', 'ACK', '<')],
        [{ token => { token => $pushed[0], logprobs => undef } }, { token => '##STREAM_END##' }], 'include_logprobs gives objects';
    is_deeply [decoded($endpoint, stream_request(prompt => ''), '<')], [{ id => 'id-1', result => { token => '##STREAM_END##' }, error => undef }],
        'a blank prompt has an end only';
    like answer($endpoint, stream_request(seed => -1)), qr/^error: Seed/, 'an error ends it at once';
    my @refused = decoded($endpoint, stream_request(), '<', 'NO', '<', request('ping'), '<');
    is_deeply [map { outcome($_) } @refused[1, 2]], [{ token => '##STREAM_END##' }, 'pong'], 'any other acknowledgement ends it';

    # A client that goes away and one that does not acknowledge hold up nobody.
    my ($gone, $silent) = (connect_to($endpoint), connect_to($endpoint));
    for my $client ($gone, $silent) {
        send_to($client, stream_request());
        is next_reply($client)->{result}{token}, $pushed[0], 'a first piece';
    }
    disconnect($gone);
    is generation(), $text, 'others are served meanwhile';
    send_to($silent, 'ACK');
    is next_reply($silent)->{result}{token}, $pushed[1], 'the one that was slow goes on';
    send_to($silent, request('ping'));
    is outcome(next_reply($silent)), 'pong', 'or asks for something else';
    disconnect($silent);
};

subtest 'embeddings' => sub {
    my @texts = ('A man is eating food.', 'A man is eating a piece of bread.', 'The girl is carrying a baby.');
    my $batch = answer($endpoint, request('embed_batch', texts => \@texts));
    my @vectors = @{ $batch->{embeddings} };
    my ($described) = grep { $_->{role} eq 'embedding' } @{ answer($endpoint, request('info'))->{models} };
    is_deeply [@{$batch}{qw(model fingerprint dimensions)}], [@{$described}{qw(name fingerprint dimensions)}], 'from the model that info tells of';
    is_deeply [map { scalar @$_ } @vectors], [($described->{dimensions}) x 3], 'embed_batch gives a vector for each text';
    cmp_ok $batch->{prompt_tokens}, '>', 3, 'and counts the tokens';
    cmp_ok abs(dot($_, $_) - 1), '<', 1e-5, 'of length 1' for @vectors;
    cmp_ok dot(@vectors[0, 1]), '>', 0.5 + dot(@vectors[0, 2]), 'alike where the meaning is';
    is_deeply answer($endpoint, request('embed', text_input => $texts[0])), $vectors[0], 'embed gives the same numbers for a text';
    is_deeply answer($endpoint, request('embed', text_input => [$texts[0]])), $vectors[0], 'for a list of one too';
    my $averaged = answer($endpoint, request('embed', text_input => [@texts[0, 2]]));
    my @sum = map { $vectors[0][$_] + $vectors[2][$_] } 0 .. $#$averaged;
    my $length = sqrt dot(\@sum, \@sum);
    is scalar(grep { abs($averaged->[$_] - $sum[$_] / $length) > 1e-6 } 0 .. $#sum), 0, 'for a list their average, of length 1';
    my ($told) = decoded($endpoint, request('embed', text_input => $texts[0], return_usage => JSON::PP::true), '<');
    is_deeply $told->{result}, $vectors[0], 'with return_usage it gives the same numbers';
    cmp_ok $told->{usage}{prompt_tokens}, '>', 3, 'and beside them its tokens';
    cmp_ok $told->{usage}{engine_ms}, '>', 0, 'and time';
    is_deeply [sort keys %{ (decoded($endpoint, request('embed', text_input => $texts[0]), '<'))[0] }], [qw(error id result)], 'others see nothing of it';
    is_deeply answer($endpoint, request('embed_batch', texts => []))->{embeddings}, [], 'no texts, no vectors';
    is answer($endpoint, request('embed', text_input => [])), 'error: Input text must not be empty', 'embed of nothing';
    is answer($endpoint, request('embed')), 'error: Input text must not be empty', 'nor without a text';
    like answer($endpoint, request('embed', text_input => $_)), qr/^error: Input text must be a string or list of strings/, 'embed of something else'
        for 7, ['a', 7], undef;
};

# Texts of 64 tokens and more use another attention than shorter ones.
subtest 'a vector depends on the text alone' => sub {
    my ($other, $where) = start_daemon('threads', '--threads', 3, '--embedding-model', $embedding_model, '--slots', 1, '--context', 64);
    my @texts   = map { join ' ', ('some', 'words', 'of', 'a', 'text') x $_, "and $_ more" } 1 .. 14, 20, 50;
    my $batch   = answer($endpoint, request('embed_batch', texts => \@texts))->{embeddings};
    my $tokens  = sub { my ($text) = @_; return (decoded($endpoint, request('embed', text_input => $text, return_usage => $true), '<'))[0]{usage}{prompt_tokens} };
    cmp_ok $tokens->($texts[0]),  '<',  64, 'texts of fewer tokens than 64';
    cmp_ok $tokens->($texts[-1]), '>', 128, 'and of many more';
    is_deeply answer($where, request('embed_batch', texts => \@texts))->{embeddings}, $batch, 'other threads give the same vectors';
    is_deeply [map { answer($endpoint, request('embed', text_input => $_)) } reverse @texts], [reverse @$batch], 'alone and in another order, too';
    $other->kill_kill;
};

subtest 'a text beyond the embedding model\'s window' => sub {
    my $too_long = answer($endpoint, request('embed', text_input => 'word ' x 5000));
    like $too_long, qr/^error: Input is beyond the model's window: (\d+) tokens\. Maximum allowed: (\d+)$/, 'is refused, with numbers';
    my ($tokens, $allowed) = $too_long =~ /(\d+) tokens\. Maximum allowed: (\d+)/;
    my $fitting = 5000 - ($tokens - $allowed);
    is answer($endpoint, request('embed', text_input => 'word ' x ($fitting + 1))),
        "error: Input is beyond the model's window: @{[ $allowed + 1 ]} tokens. Maximum allowed: $allowed", 'one token too many is too many';
    my ($told) = decoded($endpoint, request('embed', text_input => 'word ' x $fitting, return_usage => JSON::PP::true), '<');
    is $told->{usage}{prompt_tokens}, $allowed, 'as many as allowed fit';
    like answer($endpoint, request('embed_batch', texts => ['short', 'word ' x 5000])), qr/^error: Input is beyond the model's window/, 'of several one is enough';
    my $ranking = answer($endpoint, request('rerank', query => 'word', documents => ['word ' x 5000, 'word']));
    is scalar @$ranking, 2, 'documents that are only compared are cut';
};

subtest 'a text beyond the window, cut or averaged' => sub {
    my ($allowed) = answer($endpoint, request('embed', text_input => 'word ' x 5000)) =~ /Maximum allowed: (\d+)/;
    my $fitting = $allowed - 2;  # a token each, between those that begin and end
    my @fits    = map { answer($endpoint, request('embed', text_input => $_)) } 'word ' x $fitting, 'A short one.';
    my $fingerprint = sub { my ($where) = @_; return (map { $_->{fingerprint} } grep { $_->{role} eq 'embedding' } @{ answer($where, request('info'))->{models} })[0] };
    my %fingerprints = ($fingerprint->($endpoint) => 'error');
    for my $overflow ('cut', 'mean') {
        my ($other, $where) = start_daemon($overflow, '--embedding-model', $embedding_model, '--embedding-overflow', $overflow, '--slots', 1, '--context', 64);
        my ($told) = decoded($where, request('embed', text_input => 'word ' x (2 * $fitting), return_usage => $true), '<');
        is scalar(grep { abs($told->{result}[$_] - $fits[0][$_]) > 1e-6 } 0 .. $#{ $fits[0] }), 0, "$overflow: the vector of what fits, or of two such parts";
        is_deeply [ @{ $told->{usage} }{qw(prompt_tokens cut_tokens)} ], $overflow eq 'cut' ? [ $allowed, $fitting ] : [ 2 * $allowed, undef ], 'and its tokens';
        my ($uneven) = decoded($where, request('embed', text_input => 'word ' x (2 * $fitting + 1) . 'end', return_usage => $true), '<');
        is $uneven->{usage}{prompt_tokens}, $overflow eq 'cut' ? $allowed : 2 * $fitting + 2 + 3 * 2, 'three parts where two are too few';
        cmp_ok abs(dot($uneven->{result}, $uneven->{result}) - 1), '<', 1e-5, 'of length 1';
        is_deeply answer($where, request('embed', text_input => 'A short one.')), $fits[1], 'nothing changes for a text that fits';
        $fingerprints{ $fingerprint->($where) } = $overflow;
        is scalar(grep { $_ eq 'embed_batch' } @{ answer($where, request('info'))->{capabilities} }), $overflow eq 'cut' ? 0 : 1,
            'only who is told that a text was cut shares a message with others';
        $other->signal('TERM');
        finish $other;
    }
    is scalar(keys %fingerprints), 3, 'each has a fingerprint of its own';
    my ($status, $said) = run_daemon('--embedding-overflow', 'perhaps');
    is $status, 2, 'anything else is refused';
    like $said, qr/--embedding-overflow takes error, cut or mean, not "perhaps"/, 'in words';
};

subtest 'count_tokens' => sub {
    sub counted { return answer($endpoint, request('count_tokens', @_))->{tokens} }
    my @texts = ('a', 'A man is eating food.', "two\n\nparagraphs  with   spaces", "\x{e4}\x{f6}\x{fc} \x{1F600}");
    my ($told) = grep { $_->{role} eq 'generation' } @{ answer($endpoint, request('info'))->{models} };
    my $answer = answer($endpoint, request('count_tokens', text => $texts[1]));
    is_deeply [@{$answer}{qw(model fingerprint)}], [@{$told}{qw(name fingerprint)}], 'tells whose tokens they are';
    my %around = map {
        answer($endpoint, request('generate', prompt => $_, max_new_tokens => 1, return_usage => $true))->{prompt_tokens} - counted(text => $_) => 1
    } @texts;
    is scalar(keys %around), 1, 'a prompt has as many, and always the same number for the template';
    is counted(text => ''), 0, 'no text has no tokens';
    cmp_ok counted(text => '<|im_end|>'), '>', 1, 'the name of a special token is text';
    my ($embedder) = map { $_->{name} } grep { $_->{role} eq 'embedding' } @{ answer($endpoint, request('info'))->{models} };
    my ($embedded) = decoded($endpoint, request('embed', text_input => $texts[1], return_usage => $true), '<');
    my ($begin_and_end) = 2;
    is counted(text => $texts[1], model => $embedder), $embedded->{usage}{prompt_tokens} - $begin_and_end, 'by name the embedding model\'s';
    is counted(text => $texts[1], model => 'another'), counted(text => $texts[1]), 'by another name the generation model\'s';
    like answer($endpoint, request('count_tokens', text => $_)), qr/^error: text must be a string/, 'something else has none' for undef, 7, ['a'];
};

subtest 'rerank, by the embeddings' => sub {
    my @documents = ('Bread is baked in an oven.', 'A dog barks.', 'The capital of France is Paris.');
    my $ranking = answer($endpoint, request('rerank', query => 'Which city is the capital of France?', documents => \@documents));
    is $ranking->[0][0], $documents[2], 'the best is first';
    is_deeply [sort map { $_->[0] } @$ranking], [sort @documents], 'none is lost';
    is_deeply [map { $_->[1] } @$ranking], [sort { $b <=> $a } map { $_->[1] } @$ranking], 'in the order of the scores';
    is_deeply answer($endpoint, request('rerank', query => 'dog', documents => 'A dog barks.', return_scores => $false)), ['A dog barks.'],
        'a single document, without scores';
    is_deeply answer($endpoint, request('rerank', query => 'dog', documents => [])), [], 'no documents';
};

# ---- requests that end early, and requests that are none ------------------------------------------------------------

subtest 'cancel and timeout_ms' => sub {
    my @cancelled = decoded($endpoint, long_request(), request('cancel', id => 'id-1'), '<2');
    is_deeply [map { outcome($_) } @cancelled], ['error: Request cancelled', { cancelled => $true }], 'a request under way is cancelled';
    is_deeply answer($endpoint, request('cancel', id => 'id-1')), { cancelled => $false }, 'one that is not there is not';
    is answer($endpoint, request('cancel')), 'error: cancel needs the id of a request', 'one must be named';
    my @numbers = decoded($endpoint, { %{ long_request() }, id => 7 }, request('cancel', id => 7), '<2');
    is $numbers[0]{error}, 'Request cancelled', 'an id may be of any type';

    my $owner = connect_to($endpoint);
    send_to($owner, stream_request());
    next_reply($owner);
    is_deeply answer($endpoint, request('cancel', id => 'id-1')), { cancelled => $false }, 'nobody cancels another\'s request';
    send_to($owner, 'ACK');
    ok defined next_reply($owner)->{result}{token}, 'which goes on';
    disconnect($owner);

    is answer($endpoint, long_request(timeout_ms => 50)), 'error: Deadline exceeded', 'timeout_ms ends a request';
    is outcome((decoded($endpoint, (map { long_request() } 1 .. 4), long_request(timeout_ms => 1), '<'))[0]), 'error: Deadline exceeded',
        'one that waits too';
    is generation(timeout_ms => $patience * 1000), generation(), 'a long timeout does not matter';
    like generation(timeout_ms => -1), qr/^error: timeout_ms must be an integer from 0/, 'a negative one is refused';
};

subtest 'requests side by side' => sub {
    my @order = map { $_->{id} } decoded($endpoint, long_request(), request('ping'), request('embed', text_input => 'a'), '<2');
    is_deeply \@order, ['id-2', 'id-3'], 'a long one holds up neither ping nor embed';
    my @prompts = map { "Tell me about the number $_." } 1 .. 9;
    my @alone = map { generation(prompt => $_) } @prompts;
    my %together = map { $_->{id} => outcome($_) }
        decoded($endpoint, (map { request('generate', prompt => $_, max_new_tokens => 24) } @prompts), '<9');
    is_deeply [map { $together{"id-$_"} } 1 .. 9], \@alone, 'more than there are slots: all the answers they get alone';
};

subtest 'what is no request' => sub {
    my %error_of = (
        'no JSON'                                          => 'Malformed request',
        ''                                                 => 'Malformed request',
        '[]'                                               => 'Malformed request',
        '"ping"'                                           => 'Malformed request',
        '{"params": {}}'                                   => 'Malformed request',
        '{"method": 5, "params": {}}'                      => 'Malformed request',
        '{"method": "ping", "params": []}'                 => 'Malformed request',
        '{"method": "ping", "params": {}'                  => 'Malformed request',
        "{\"method\": \"ping\xff\", \"params\": {}}"       => 'Malformed request',
        "{\"method\": \"ping\0\", \"params\": {}}"         => 'Malformed request',
        ('[' x 100_000)                                    => 'Malformed request',
        'ACK'                                              => 'Malformed request',
        '{"method": "unknown", "params": {}}'              => 'Unknown method: unknown',
        '{"method": "control", "params": {"fault": "x"}}'  => 'Unknown method: control',
    );
    for my $body (sort keys %error_of) {
        is_deeply [decoded($endpoint, $body, '<')], [{ id => undef, result => undef, error => $error_of{$body} }], substr $body, 0, 60;
    }
    is answer($endpoint, { id => { deep => [1] }, method => 'ping', params => {}, extra => 1 }), 'pong', 'extra keys do not matter';
    is_deeply((decoded($endpoint, { id => { deep => [1, 'x'] }, method => 'ping' }, '<'))[0]{id}, { deep => [1, 'x'] }, 'an id comes back as it was');
    like generation(prompt => 5), qr/^error: prompt must be a string/, 'a prompt that is none';
    like generation(max_new_tokens => $_), qr/^error: max_new_tokens must be an integer/, 'a bad limit' for 0, -1, 'many', 1.5;
    is answer($endpoint, request('shutdown')), 'error: Shutdown is not allowed', 'shutdown is not allowed unless it is';
    is answer($endpoint, request('ping')), 'pong', 'and it is still there';
};

# ---- structured output ---------------------------------------------------------------------------------------------

# What t/240_structured.pl proves at length through SQL; here what is the daemon's alone.
subtest 'constrained answers' => sub {
    my $person = { type => 'object', required => ['name', 'age'], properties => { name => { type => 'string' }, age => { type => 'integer', minimum => 0 } } };
    my %prompt = (prompt => 'Describe Anna, who is 33.');
    my @tasks  = (
        { schema => $person, max_new_tokens => 12 }, { schema => $person, max_new_tokens => 100 },
        { response_format => { type => 'json_schema', json_schema => { schema => $person } } },
        { regex => '[a-z]{3}-\\d{4,}?', max_new_tokens => 9 }, { choices => [ 'say "yes"', 'no\\', 'maybe' ], max_new_tokens => 6 },
    );
    my @alone = map { generation(%prompt, %$_) } @tasks;
    for my $document (@alone[0 .. 2]) {
        my $decoded = eval { $json->decode($document) } // {};
        like $decoded->{age}, qr/^\d+$/, "whole and right: $document";
    }
    is $alone[2], $alone[1], 'a schema given as OpenAI does is the same';
    like $alone[3], qr/^[a-z]{3}-\d{4,}$/, 'a full match of the regex';
    ok((grep { $alone[4] eq $_ } @{ $tasks[4]{choices} }), 'one of the choices, word for word');

    my @crowd = map { request('generate', prompt => 'Tell me a long story.', max_new_tokens => 30 + $_) } 1 .. 3;
    my @replies = decoded($endpoint, (map { (request('generate', %prompt, max_new_tokens => 24, %$_), $crowd[ rand 3 ]) } @tasks), '<' . 2 * @tasks);
    my %by_id = map { $_->{id} => outcome($_) } @replies;
    is_deeply [map { $by_id{'id-' . (2 * $_ + 1)} } 0 .. $#tasks], \@alone, 'the same bytes beside others';

    like generation(%prompt, schema => $person, max_new_tokens => 4), qr/^error: Too few tokens: the shortest answer takes \d+, 4 are allowed$/,
        'what could not be finished is not begun';
    like generation(schema => { not => {} }), qr/^error: schema keyword "not" is not supported/, 'what cannot be promised is refused';
    like generation(regex => '(a'), qr/^error: invalid regular expression: A parenthesis is not closed/, 'so is a broken regex';
    is generation(choices => []), 'error: choices must not be empty', 'and no choice at all';
};

# ---- the process ---------------------------------------------------------------------------------------------------

subtest '--check' => sub {
    my ($status, $said) = run_daemon('--check', $model, '--threads', 1, '--slots', 2, '--context', 128);
    is $status, 0, 'of a model that generates';
    like $said, qr/^model +\S.*million parameters/m, 'tells what it is';
    like $said, qr/^use +--model/m, 'what it is for';
    like $said, qr/^template +works/m, 'whether its template works';
    like $said, qr/^same bits +in full batches: (yes|no); prompts in pieces: (yes|no); kept prefixes: (yes|no)/m, 'what is invariant';
    like $said, qr/^tokens\/s +prompt: \d+; decoding alone: \d+; decoding for 2 at once: \d+/m, 'how fast it is here';
    like $said, qr/^ +q4_1 +1\.00 \/ +1\.00$/m, 'against which other quantisations are compared';
    like $said, qr/^faster +(none|\w+; )/m, 'and which would be faster';
    ($status, $said) = run_daemon('--check', $embedding_model, '--threads', 1);
    is $status, 0, 'of one that embeds';
    like $said, qr/^use +--embedding-model: vectors of 384 numbers/m, 'it tells that';
    is +(run_daemon('--check', "$folder/missing.gguf"))[0], 3, 'of none';
};

subtest 'the command line' => sub {
    my ($status, $help) = run_daemon('--help');
    is $status, 0, '--help';
    like $help, qr/^\s+\Q$_\E\b/m, "tells of $_" for qw(--endpoint --model --embedding-model --slots --context --threads --allow-shutdown);
    like((run_daemon('--version'))[1], qr/^steadytextd \d{4}\./, '--version');
    my %complaint = (
        '--no-such'    => qr/unknown option "--no-such"/,
        '--slots=0'    => qr/--slots takes a number from 1 to \d+, not "0"/,
        '--context=1x' => qr/--context takes a number/,
        '--model'      => qr/--model needs an argument/,
    );
    for my $option (sort keys %complaint) {
        my ($refused, $said) = run_daemon($option);
        is $refused, 2, "$option is refused";
        like $said, $complaint{$option}, 'with the reason';
    }
};

subtest 'models that are none' => sub {
    open my $whole, '<:raw', $model or die $!;
    my %bytes_of = (text => "This is no model.\n", empty => '');
    read $whole, $bytes_of{header}, 1000;
    seek $whole, 0, 0;
    read $whole, $bytes_of{weights}, (-s $model) / 2;
    for my $name (keys %bytes_of) {
        open my $file, '>:raw', "$folder/$name.gguf" or die $!;
        print {$file} $bytes_of{$name};
        close $file;
    }
    my %complaint = (
        missing => qr/could not open model ".*missing\.gguf": No such file or directory/,
        text    => qr/".*text\.gguf" is not a GGUF model/,
        empty   => qr/".*empty\.gguf" is not a GGUF model/,
        header  => qr/could not load model ".*header\.gguf": \S.*/,
        weights => qr/could not load model ".*weights\.gguf": \S.*/,
    );
    for my $name (sort keys %complaint) {
        for my $option ('--model', '--embedding-model') {
            my ($status, $said) = run_daemon('--endpoint', "ipc://$folder/unused", $option, "$folder/$name.gguf");
            is $status, 3, "$name as $option ends it";
            like +(split /\n/, $said)[-1], $complaint{$name}, 'with the reason as its last line';
        }
    }
    ok !-e "$folder/unused", 'no socket is left';
};

subtest 'an endpoint that is taken' => sub {
    my ($status, $said) = run_daemon('--endpoint', $endpoint, '--model', $model);
    is $status, 4, 'ends the second daemon';
    like $said, qr/could not listen on "\Q$endpoint\E": another process does/, 'with the reason';
    is answer($endpoint, request('ping')), 'pong', 'and not the first';
    is +(run_daemon('--endpoint', 'nonsense://x'))[0], 4, 'what is no endpoint neither';
};

subtest 'the end' => sub {
    finish $daemon;
    is $daemon->result(0), 0, 'with its standard input';
    ok !-e "$folder/daemon", 'and no socket is left';

    my ($obedient, $where) = start_daemon('obedient', '--allow-shutdown', '--max-queue', 2);
    is answer($where, request('embed', text_input => 'a')), 'error: This daemon has no model for that', 'what it has no model for, it says';
    my ($full, @last) = map { outcome($_) } decoded($where, (long_request()) x 3, '<', request('shutdown'), '<3');
    is $full, 'error: Queue full', 'beyond --max-queue requests are refused';
    is_deeply [sort @last], [('error: The daemon is shutting down') x 2, 'shutdown initiated'], 'shutdown answers what is under way';
    finish $obedient;
    is $obedient->result(0), 0, 'and ends it';

    my ($signalled, $there) = start_daemon('signalled');
    my $client = connect_to($there);
    send_to($client, stream_request(max_new_tokens => 400));
    next_reply($client);
    $signalled->signal('TERM');
    is next_reply($client)->{error}, 'The daemon is shutting down', 'SIGTERM answers what is under way';
    finish $signalled;
    is $signalled->result(0), 0, 'and ends it';
    disconnect($client);
};

done_testing;
