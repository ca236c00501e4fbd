export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
mkdir -p t/d && echo 1 >t/f && ln -s f t/l && tar --owner=9 --group=9 -cf a.tar t && true