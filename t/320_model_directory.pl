# A directory of models: found by name, loaded on demand, given up for others; broken files, names that are none, and what SQL sees of it.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IPC::Run qw(start timeout);
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::WireClient;
use Test::More;
use Time::HiRes qw(sleep time);

chomp(my $models = `scripts/models --print-dir`);
my ($generates, $embeds) = ("$models/smollm2-135m-instruct-q4_1.gguf", "$models/all-minilm-l6-v2.gguf");
my $folder = tempdir(CLEANUP => 1);
my ($true, $patience) = (JSON::PP::true, 180);  # seconds; the machine may be busy

# ---- files -----------------------------------------------------------------------------------------------------------

sub write_file { my ($path, $bytes) = @_; open my $file, '>:raw', $path or die "$path: $!"; print {$file} $bytes; close $file or die $!; return; }
sub beginning { my ($path, $bytes) = @_; open my $file, '<:raw', $path or die $!; my $part; read $file, $part, $bytes; return $part; }

# A GGUF file with these pairs of keys and values, in GGUF's own form, and no weights.
sub text    { my ($text) = @_; return pack 'Q<a*', length $text, $text }
sub of_pairs { my (@pairs) = @_; return pack('a4L<Q<Q<', 'GGUF', 3, 0, scalar @pairs) . join '', @pairs }

my $dir = "$folder/models";
mkdir $dir or die $!;
mkdir "$dir/folder.gguf" or die $!;
link_or_copy($generates, "$dir/$_.gguf") for qw(b-first c-second d-third);
link_or_copy($embeds, "$dir/minilm.gguf");
symlink 'b-first.gguf', "$dir/inside.gguf" or die $!;
copy($generates, "$folder/elsewhere.gguf") or die $!;
symlink "$folder/elsewhere.gguf", "$dir/outside.gguf" or die $!;
write_file("$dir/a-text.gguf", "This is no model.\n");
write_file("$dir/empty.gguf", '');
write_file("$dir/cut.gguf", beginning($generates, (-s $generates) / 2));
write_file("$dir/cut-header.gguf", beginning($generates, 1_000));
write_file("$dir/endless.gguf", pack('a4L<Q<Q<', 'GGUF', 3, 1 << 62, 1 << 62));
write_file("$dir/long-key.gguf", pack('a4L<Q<Q<Q<', 'GGUF', 3, 0, 1, 1 << 62));
write_file("$dir/array.gguf", of_pairs(text('a') . pack('L<L<Q<', 9, 10, 1 << 61)));
write_file("$dir/nothing.gguf", of_pairs(text('general.architecture') . pack('L<', 8) . text('llama')));
write_file("$dir/part.gguf", of_pairs(text('general.architecture') . pack('L<', 8) . text('llama'), text('split.count') . pack('L<S<', 2, 3)));
write_file("$dir/of no use.txt", 'x');
my %broken = (
    'a-text'     => qr/no GGUF model/,
    'empty'      => qr/no GGUF model/,
    'cut-header' => qr/no GGUF model/,
    'endless'    => qr/no GGUF model/,
    'long-key'   => qr/no GGUF model/,
    'array'      => qr/no GGUF model/,
    'part'       => qr/one of several parts/,
    'cut'        => qr/could not load model "cut": \S/,
    'nothing'    => qr/could not load model "nothing": \S/,
);

sub link_or_copy { my ($from, $to) = @_; return link($from, $to) || copy($from, $to) || die "$to: $!"; }

# ---- the daemon ------------------------------------------------------------------------------------------------------

my @small = ('--threads', 1, '--slots', 2, '--context', 128, '--prefix-memory', 0);
my $starts = 0;
sub start_daemon {
    my (@options) = @_;
    my %daemon = (in => '', log => '', endpoint => "ipc://$folder/daemon" . $starts++);
    $daemon{process} = start [ 'build/steadytextd', '--endpoint', $daemon{endpoint}, '--exit-on-stdin-eof', @small, @options ],
        '<', \$daemon{in}, '>&', \$daemon{log}, timeout(5 * $patience);
    $daemon{process}->pump until $daemon{log} =~ /steadytextd: ready/;
    return \%daemon;
}
sub stop { my ($daemon) = @_; $daemon->{process}->kill_kill; return; }
sub said { my ($daemon) = @_; $daemon->{process}->pump_nb; return $daemon->{log}; }

my $requests = 0;
sub ask { my ($client, $method, @params) = @_; say_to($client, 'request ' . ++$requests, $method, @params); return reply_to($client); }
my %prompt = (prompt => 'Count to five.', max_new_tokens => 4, return_usage => $true);
sub generate { my ($client, $model) = @_; return ask($client, 'generate', %prompt, model => $model); }
sub models_of { my ($client) = @_; return { map { $_->{name} => $_ } @{ ask($client, 'info')->{result}{models} } }; }
sub loaded { my ($client) = @_; my $all = models_of($client); return join ' ', grep { $all->{$_}{loaded} } sort keys %$all; }
sub wait_until { my ($true) = @_; my $end = time + $patience; while (time < $end) { return 1 if $true->(); sleep 0.05; } return 0; }

my $daemon = start_daemon('--model', $dir);
my $client = connect_to_daemon($daemon->{endpoint}, $patience);

subtest 'what there is' => sub {
    ok wait_until(sub { !ask($client, 'info')->{result}{has_more_models} }), 'all fingerprints become known';
    my $all = models_of($client);
    is $all->{$_}{role}, 'generation', "$_ generates" for qw(b-first c-second d-third inside);
    is $all->{minilm}{role}, 'embedding', 'minilm embeds';
    is $all->{minilm}{dimensions}, 384, 'in so many dimensions';
    ok !exists $all->{$_}, "$_ is none" for qw(outside folder), 'of no use';
    is $all->{'b-first'}{fingerprint}, $all->{'d-third'}{fingerprint}, 'the same file has the same fingerprint, loaded or not';
    isnt $all->{'b-first'}{fingerprint}, $all->{cut}{fingerprint}, 'another file another one';
    is loaded($client), 'b-first', 'the first that can be used is loaded';
    my $alone = start_daemon('--model', $generates);
    is $all->{'b-first'}{fingerprint}, (values %{ models_of(connect_to_daemon($alone->{endpoint}, $patience)) })[0]{fingerprint}, 'and has the fingerprint that it has by itself';
    stop($alone);
};

subtest 'by name' => sub {
    my $first = generate($client, undef)->{result};
    is $first->{model}, 'b-first', 'no name: the first';
    for my $name (qw(d-third inside b-first)) {
        my $result = generate($client, $name)->{result};
        is_deeply [ @{$result}{qw(model text)} ], [ $name, $first->{text} ], $name;
        is $result->{fingerprint}, models_of($client)->{$name}{fingerprint}, 'with the fingerprint that info told';
    }
    my $vector = ask($client, 'embed_batch', texts => ['x'], model => 'minilm')->{result};
    is_deeply [ scalar @{ $vector->{embeddings}[0] }, $vector->{model} ], [ 384, 'minilm' ], 'one that embeds';
    is ask($client, 'embed_batch', texts => ['x'])->{result}{model}, 'minilm', 'the only one needs no name';
    is ask($client, 'count_tokens', text => 'x', model => 'minilm')->{result}{model}, 'minilm', 'tokens are counted by name';
    is scalar @{ ask($client, 'rerank', query => 'x', documents => [ 'x', 'y' ])->{result} }, 2, 'documents are ranked by the embeddings';
};

subtest 'names that are none' => sub {
    for my $name ('none', 'minilm', 'outside', 'folder', '../elsewhere', "$dir/b-first.gguf", 'b-first.gguf', '..', '.', "b-first\0", 'B-FIRST', 'x' x 5000) {
        my $reply = generate($client, $name);
        like $reply->{error}, qr/^Unknown model: .*\. There are: b-first, c-second, .*d-third/, substr($name =~ s/\0/\\0/r, 0, 40);
        cmp_ok length $reply->{error}, '<', 1500, 'in few words';
    }
};

subtest 'broken files' => sub {
    for my $name (sort keys %broken) {
        my $reply = generate($client, $name);
        like $reply->{error}, qr/^Model "$name" cannot be used: .*$broken{$name}/, $name;
        unlike $reply->{error}, qr/\Q$folder\E/, 'without its path';
    }
    is generate($client, 'b-first')->{result}{model}, 'b-first', 'others go on';
};

subtest 'loading stops nobody' => sub {
    my $other = connect_to_daemon($daemon->{endpoint}, $patience);
    say_to($other, 'waits', 'generate', %prompt, model => 'c-second');
    my $answered = 0;
    while (!models_of($client)->{'c-second'}{loaded}) {
        $answered++ if generate($client, 'b-first')->{result}{model} eq 'b-first';
    }
    cmp_ok $answered, '>', 0, "answers of a model while another is loaded: $answered";
    is reply_to($other)->{result}{model}, 'c-second', 'and then of that one';
    $other->{process}->finish;
};

subtest 'files that come and go' => sub {
    link_or_copy($generates, "$dir/new.gguf");
    ok wait_until(sub { models_of($client)->{new} }), 'a new one is found';
    is generate($client, 'new')->{result}{model}, 'new', 'and answers';
    unlink "$dir/new.gguf";
    ok wait_until(sub { !models_of($client)->{new} }), 'one that goes is not found any more';
    like generate($client, 'new')->{error}, qr/^Unknown model: new/, 'and does not answer';
    ok wait_until(sub { said($daemon) =~ /model new is given up/ }), 'its memory is free';
    copy($generates, "$folder/swap.gguf");
    rename "$folder/swap.gguf", "$dir/cut.gguf";
    ok wait_until(sub { generate($client, 'cut')->{result} }), 'a file that was broken is used once it is another';
};
stop($daemon);

# ---- little memory -----------------------------------------------------------------------------------------------------

subtest 'memory' => sub {
    my $small = start_daemon('--model', $dir, '--memory', 250);  # one of them takes some 200
    my $one = connect_to_daemon($small->{endpoint}, $patience);
    wait_until(sub { !ask($one, 'info')->{result}{has_more_models} });
    is generate($one, 'c-second')->{result}{model}, 'c-second', 'another is loaded';
    is loaded($one), 'c-second', 'instead of the first';
    is generate($one, 'd-third')->{result}{model}, 'd-third', 'and one more';
    is generate($one, undef)->{result}{model}, 'b-first', 'and the first again';

    # One at work is not given up: its answer is whole.
    my $slow = connect_to_daemon($small->{endpoint}, $patience);
    say_to($slow, 'slow', 'generate', prompt => 'Count to one thousand.', max_new_tokens => 60, return_usage => $true);
    ok wait_until(sub { ask($one, 'info')->{result}{slots_in_use} > 0 }), 'a model is at work';
    say_to($one, 'other', 'generate', %prompt, model => 'c-second');
    like reply_to($slow)->{result}{finish_reason}, qr/^(stop|length)$/, 'it ends what it has';
    is reply_to($one)->{result}{model}, 'c-second', 'before the other comes';

    # Four clients without a pause at three models with room for one: each gets answers.
    my %clients = map { $_ => connect_to_daemon($small->{endpoint}, $patience) } qw(b-first b-again c-second d-third);
    my %name_of = map { $_ => $_ eq 'b-again' ? 'b-first' : $_ } keys %clients;
    my (%answers, $wrong);
    my $ask = sub { my ($who) = @_; return say_to($clients{$who}, $who, 'generate', %prompt, model => $name_of{$who}) };
    $ask->($_) for keys %clients;
    $clients{$_}{in} .= "<\n" for keys %clients;
    my $end = time + $patience;
    while (time < $end && grep { ($answers{$_} // 0) < 3 } keys %clients) {
        for my $who (keys %clients) {
            $clients{$who}{process}->pump_nb;
            next if $clients{$who}{out} !~ s/^(.*)\n//;
            my $reply = JSON::PP::decode_json($1);
            $wrong = $reply if ($reply->{result}{model} // '') ne $name_of{$who};
            $answers{$who}++;
            $ask->($who);
            $clients{$who}{in} .= "<\n";
        }
        sleep 0.01;
    }
    cmp_ok $answers{$_} // 0, '>=', 3, "$_ is answered" for sort keys %clients;
    is $wrong, undef, 'each by its own';
    $_->{process}->kill_kill for values %clients;

    # A deadline holds while it waits in line.
    say_to($slow, 'slow', 'generate', prompt => 'Count to one thousand.', max_new_tokens => 100, model => 'b-first');
    ok wait_until(sub { ask($one, 'info')->{result}{slots_in_use} > 0 }), 'one is at work';
    my $began = time;
    is ask($one, 'generate', %prompt, model => 'd-third', timeout_ms => 300)->{error}, 'Deadline exceeded', 'who waits for another has a deadline';
    reply_to($slow);
    unlike said($small) =~ s/.*b-first is ready//sr, qr/d-third is ready/, 'and nothing is loaded for it';
    stop($small);

    my $tiny = start_daemon('--model', $dir, '--memory', 100);
    my $two  = connect_to_daemon($tiny->{endpoint}, $patience);
    like generate($two, 'b-first')->{error}, qr/^Model "b-first" cannot be used: it takes about \d+ MB, and there are 100 MB for all models$/, 'too little for any';
    stop($tiny);
};

# ---- in PostgreSQL -------------------------------------------------------------------------------------------------------

subtest 'SQL' => sub {
    my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '2min'",
        'steadytext.embedded_memory = 1GB', 'steadytext.embedded_slots = 2', 'steadytext.embedded_threads = 1', 'steadytext.embedded_prefix_memory = 0' ]);
    my $dir = $cluster->run_dir . '/models';
    mkdir $dir or die $!;
    link_or_copy($generates, "$dir/$_.gguf") for qw(b-first d-third);
    link_or_copy($embeds, "$dir/minilm.gguf");
    write_file("$dir/a-text.gguf", "This is no model.\n");
    chmod 0755, $dir, glob "$dir/*";
    $cluster->append_conf('steadytext.embedded_daemon = on', "steadytext.embedded_model = '$dir'");
    $cluster->reload;
    ok $cluster->poll_until(q(SELECT count(*) FROM steadytext_models() WHERE model IN ('b-first', 'd-third', 'minilm') AND served), 3, $patience), 'the models are known';
    is $cluster->sql(q(SELECT model FROM steadytext_models() WHERE is_default ORDER BY role)), "minilm\nb-first", 'the first of each role is the default';
    is $cluster->sql(q(SELECT model FROM steadytext_generate_ex('Count to five.', '{"model": "d-third", "max_tokens": 4}'))), 'd-third', 'a call names one';
    is $cluster->sql(q(SELECT cached FROM steadytext_generate_ex('Count to five.', '{"model": "d-third", "max_tokens": 4}'))), 't', 'its answer is cached';
    is $cluster->sql(q(SELECT steadytext_embed('x', model => 'minilm') = steadytext_embed('x'))), 't', 'one embeds';
    my $unknown = $cluster->try_sql(q(SET steadytext.unknown_model = 'error'; SELECT steadytext_generate('x', model => 'none')));
    like $unknown->{err}, qr/42704: no inference daemon serves model "none"\nDETAIL:\s+There are: b-first, /, 'a name that is none is told with those that there are';
    my $broken = $cluster->try_sql(q(SELECT steadytext_generate('x', model => 'a-text')));
    like $broken->{err}, qr/Model "a-text" cannot be used: it is no GGUF model/, 'a broken file is that call\'s error';
    link_or_copy($generates, "$dir/z-late.gguf");
    chmod 0755, "$dir/z-late.gguf";
    ok $cluster->poll_until(q(SELECT count(*) FROM steadytext_models() WHERE model = 'z-late' AND served), 1, $patience), 'a new file is known by itself';
    is $cluster->sql(q(SELECT model FROM steadytext_generate_ex('x', '{"model": "z-late", "max_tokens": 2}'))), 'z-late', 'and answers';
    # A file of its own, no link: it is damaged
    copy($generates, "$dir/y-cut.gguf") or die $!;
    chmod 0755, "$dir/y-cut.gguf";
    ok $cluster->poll_until(q(SELECT count(*) FROM steadytext_models() WHERE model = 'y-cut' AND served), 1, $patience), 'one more';
    is $cluster->sql(q(SELECT model FROM steadytext_generate_ex('x', '{"model": "y-cut", "max_tokens": 2}'))), 'y-cut', 'is loaded';
    truncate "$dir/y-cut.gguf", 1_000_000 or die $!;
    my $cut = $cluster->try_sql(q(SELECT steadytext_generate('y', model => 'y-cut', max_tokens => 2)));
    isnt $cut->{state}, '00000', 'cut short while it is loaded it answers no more';
    ok $cluster->poll_until(q(SELECT model FROM steadytext_generate_ex('after', '{"model": "b-first", "max_tokens": 2}')), 'b-first', $patience), 'the daemon is started again, and others answer';
    like $cluster->log, qr/steadytextd: a file was cut short while it was in use, and the daemon ends: \Q$dir\E\/y-cut\.gguf \(replace a model by renaming/, 'the log names the file, and what to do';
    like do { my ($launcher) = $cluster->worker_pid('launcher'); qx(ps -o args= --ppid $launcher) }, qr/--memory 1024 /, 'embedded_memory is given to the daemon';
};

done_testing;
